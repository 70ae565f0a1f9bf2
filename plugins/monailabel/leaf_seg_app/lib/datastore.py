"""A datastore whose labels survive a crash of the server, and whose processes do not overwrite each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag

from leaf_seg.image_io.files import case_name
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from lib.abandoned import remove_abandoned
from lib.http_errors import bad_request, not_found
from lib.label_files import class_indices, read_label

_UPLOAD_PREFIX = ".upload_"


class DurableDatastore(LocalDatastore):
    """MONAI Label's local folder, with three differences.

    Labels and the datastore's own file are written beside the former ones and then take their place, so that whenever
    the server is killed each of them is whole. What changes is added to what is on disk, under the lock, since scoring
    and batch inference write from processes of their own. And a label is checked before it is kept: that it lies in the
    grid of its image, and a final one, which is trained on, that it holds the app's structures.

    Args:
        datastore_path: the folder.
        class_names: K names, background first.
        arguments: of MONAI Label's LocalDatastore.

    Raises:
        InputError: When two images have the same name but for their extension: MONAI Label would show one of them.
    """

    _config_ts: float

    def __init__(self, datastore_path: str, class_names: Sequence[str], **arguments: Any) -> None:
        self._class_names = class_names
        _check_different_names(Path(datastore_path), arguments.get("extensions", ()))
        super().__init__(datastore_path, **arguments)
        for tag in (DefaultLabelTag.FINAL, DefaultLabelTag.ORIGINAL):
            remove_abandoned(Path(self._datastore.label_path(tag)), _UPLOAD_PREFIX)
        if self._auto_reload:
            self._handler.on_moved = self._on_moved

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label.

        Raises:
            HTTPException: 404 for an unknown image, 400 for a label that cannot be read, lies in another grid or
                holds other structures, and for a tag that is no word.
        """
        image = self.get_image_uri(image_id)
        if not image:
            raise not_found("image", image_id, self.list_images())
        with bad_request():
            if not re.fullmatch(r"[\w-]+", label_tag):
                raise InputError(f"The tag of the label is {label_tag!r}; expected letters, digits, _ and -.")
            label = read_label(label_filename, image)
            if label_tag == DefaultLabelTag.FINAL:
                class_indices(label, (label_info or {}).get("label_info") or [], self._class_names)
        extension = self._to_id(os.path.basename(label_filename))[1]
        name = self._filename(image_id, extension)
        folder = Path(self._datastore.label_path(label_tag))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{_UPLOAD_PREFIX}{os.getpid()}_{time.monotonic_ns()}"
        shutil.copy(label_filename, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        with self._changing():
            os.replace(temporary, folder / name)
            info = {**(label_info or {}), "ts": int(time.time()), "name": name}
            self._object(image_id).labels[label_tag] = DataModel(info=info, ext=extension)
        return image_id

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image."""
        with self._changing():
            self._object(image_id).image.info.update(info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label."""
        with self._changing():
            labels = self._object(label_id).labels
            if label_tag not in labels:
                raise not_found(f"label of {label_id} with the tag", label_tag, list(labels))
            labels[label_tag].info.update(info)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what is on disk now, alone."""
        with FileLock(self._lock_file):
            file = Path(self._datastore_config_path)
            if file.exists() and file.stat().st_mtime != self._config_ts:
                self._datastore = LocalDatastoreModel.model_validate_json(file.read_text())
                self._datastore.base_path = self._datastore_path
            yield
            self._update_datastore_file(lock=False)

    def _object(self, image_id: str) -> ImageLabelModel:
        if image_id not in self._datastore.objects:
            raise not_found("image", image_id, self.list_images())
        return self._datastore.objects[image_id]

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with FileLock(self._lock_file):
                self._update_datastore_file(lock=False)
            return
        file = Path(self._datastore_config_path)
        with replacing(file) as temporary:
            text = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
            temporary.write_text(text)
        self._config_ts = file.stat().st_mtime

    def _on_moved(self, event: Any) -> None:
        """Another process has put a new file in its place."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self.refresh()


def _check_different_names(folder: Path, patterns: Sequence[str]) -> None:
    images: dict[str, str] = {}
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
        other = images.setdefault(case_name(file), file.name)
        if other != file.name:
            raise InputError(
                f"{folder} holds {other} and {file.name}; expected names that differ without the extension, by which "
                "the server knows images. Rename one."
            )
