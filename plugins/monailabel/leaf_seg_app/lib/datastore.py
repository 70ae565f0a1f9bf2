"""A datastore whose labels survive a crash of the server, and whose processes do not overwrite each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag

from leaf_seg.image_io import read_image
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.errors import InputError
from lib.archive import write_archive
from lib.datastore_file import read_known, write_known
from lib.former_labels import former_kept, settle
from lib.found import delete_label, found_objects, image_label_pairs
from lib.http_errors import bad_request, not_found
from lib.json_values import check_object
from lib.label_files import read_label
from lib.label_meaning import NAMES, RESERVED, checksum_of, label_meaning
from lib.leftovers import move_left_over_labels
from lib.names import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    check_content,
    check_image_id,
    check_tag,
    check_upload_name,
    split_suffix,
)
from lib.predictions import Predictions
from lib.studies import check_different_names, put, remove_broken_off_uploads

logger = logging.getLogger(__name__)

_PREDICTIONS_NAME = "predictions.db"
FINAL = DefaultLabelTag.FINAL.value


class DurableDatastore(LocalDatastore):
    """MONAI Label's local folder, with these differences.

    Images, labels and the datastore's own file are written beside the former ones and then take their place, so that
    whenever the server is killed each of them is whole. What changes is added to what is on disk, under the lock, since
    scoring and batch inference write from processes of their own; readers see all of a change or nothing.

    Names are plain, and files stay in the folder. An image has one file, and each of its labels one, whatever the
    format. Both are read before they are kept: an image must be one, and a label lie in the grid of its image; a final
    one, which is trained on, must hold the app's structures, and their names are kept with it.

    Args:
        datastore_path: the folder.
        class_names: K names, background first.
        reading: how the model reads images.
        arguments: of MONAI Label's LocalDatastore.

    Attributes:
        predictions: the answers that the server has given.

    Raises:
        InputError: When two images have the same name but for their extension: MONAI Label would show one of them.
    """

    _config_ts: float
    _datastore: LocalDatastoreModel

    def __init__(
        self,
        datastore_path: str,
        class_names: Sequence[str],
        reading: ReadingOptions = DEFAULT_READING,
        **arguments: Any,
    ) -> None:
        self._class_names = class_names
        self._reading = reading
        self._folder = Path(datastore_path)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / ".lock")  # one for all, since who holds it may take it again
        self.predictions = Predictions(self._folder / _PREDICTIONS_NAME)
        check_different_names(self._folder, IMAGE_SUFFIXES)
        with self._lock:
            file = self._folder / "datastore_v2.json"
            objects = read_known(file).objects if file.exists() else {}
            for folder in self._tag_folders():
                settle(folder, objects)
            move_left_over_labels(self._folder, objects)
        super().__init__(datastore_path, **arguments)
        remove_broken_off_uploads(self._folder)
        if self._auto_reload:
            self._handler.on_moved = self._on_moved

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an image; one of the same name takes the place of the former one, whose labels stay.

        Raises:
            HTTPException: 400 for a name or a file that does not fit, for a name that an image of another format has,
                and where the former image has labels that do not fit the new one.
        """
        with bad_request():
            stem, suffix = check_upload_name(image_filename, IMAGE_SUFFIXES)
            image_id = check_image_id(image_id or stem)
            check_content(image_filename)
            read_image(image_filename, options=self._reading)
        name = f"{image_id}{suffix}"
        with self._changing() as datastore, bad_request():
            former = datastore.objects.get(image_id)
            for other in self._folder.iterdir():
                stem, other_suffix = split_suffix(other.name, IMAGE_SUFFIXES)
                if stem == image_id and other_suffix and other.name != name:
                    raise InputError(f"There is an image {other.name} of this name. Delete it, or choose another name.")
            labels = former.labels if former else {}
            for tag, label in labels.items():
                read_label(str(self._label_folder(tag) / f"{image_id}{label.ext}"), image_filename)
            put(image_filename, self._folder / name, self._folder)
            info = {**(image_info or {}), "ts": int(time.time()), "name": name}
            datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=suffix), labels=labels)
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Delete an image and all its labels.

        Raises:
            HTTPException: 404 for an unknown image.
        """
        with self._changing() as datastore:
            image = self._object(datastore, image_id)
            for folder in self._tag_folders():
                delete_label(folder, image_id)
            (self._folder / f"{image_id}{image.image.ext}").unlink(missing_ok=True)
            del datastore.objects[image_id]
        try:
            self.predictions.forget(image_id)
        except OSError:
            logger.exception("Answers for the image, which is deleted, are still known")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label, in place of the former one of the tag, whatever format that has.

        Raises:
            HTTPException: 404 for an unknown image, 400 for a label that cannot be read, lies in another grid or
                holds other structures, and for a tag that is no word.
        """
        image = self.get_image_uri(image_id)
        if not image:
            raise not_found("image", image_id, self.list_images())
        with bad_request():
            check_tag(label_tag)
            _, suffix = check_upload_name(label_filename, LABEL_SUFFIXES)
            label = read_label(label_filename, image)
            info = {key: value for key, value in (label_info or {}).items() if key not in RESERVED}
            info |= checksum_of(label_filename)
            if label_tag == FINAL:
                info |= self._meaning(image_id, label, info, label_filename)
        name = f"{image_id}{suffix}"
        folder = self._label_folder(label_tag)
        with self._lock:  # until the label of another format is gone, too
            self._load()
            if folder in self._tag_folders():
                settle(folder, self._datastore.objects)  # a child of the server may have been killed
            with bad_request(), former_kept(folder / name, self._folder), self._changing() as datastore:
                labels = self._object(datastore, image_id).labels
                put(label_filename, folder / name, self._folder)
                labels[label_tag] = DataModel(info={**info, "ts": int(time.time()), "name": name}, ext=suffix)
            delete_label(folder, image_id, but=name)
        return image_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete a label, in whatever formats it is there.

        Raises:
            HTTPException: 404 for an unknown image, and for a tag that it has no label of.
        """
        with self._changing() as datastore:
            self._label(datastore, label_id, label_tag)
            delete_label(self._label_folder(label_tag), label_id)
            del datastore.objects[label_id].labels[label_tag]

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image."""
        with self._changing() as datastore, bad_request():
            image = self._object(datastore, image_id).image
            image.info = check_object({**image.info, **info}, "What is known of the image")

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label; names of the structures of a final one must fit it.

        Raises:
            HTTPException: 404 for an unknown label, 400 for names that do not fit.
        """
        changed = {key: value for key, value in info.items() if key not in RESERVED}
        with self._changing() as datastore, bad_request():
            label = self._label(datastore, label_id, label_tag)
            if NAMES in changed and label_tag == FINAL:
                file = str(self._label_folder(label_tag) / f"{label_id}{label.ext}")
                values = read_label(file, self.get_image_uri(label_id))
                changed |= self._meaning(label_id, values, changed, file)
            label.info = check_object({**label.info, **changed}, "What is known of the label")

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Files of each image with a final label and of that; a link to another image goes by its own name."""
        return image_label_pairs(self._datastore.objects, self._folder.absolute() if full_path else Path(), FINAL)

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """All images with labels as a ZIP archive, a temporary file.

        Raises:
            HTTPException: 404 when there is no label.
        """
        pairs = self.datalist()
        if not pairs:
            raise not_found("image with a final label", "", [])
        return write_archive(pairs, limit_cases, self._datastore.model_dump_json(exclude={"base_path"}))

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What is on disk now, which nobody changes meanwhile."""
        with self._lock:
            self._load()
            yield

    def _meaning(self, image_id: str, label: Any, info: dict[str, Any], file: str) -> dict[str, Any]:
        answers = self.predictions.about(self.get_image_uri(image_id))
        return label_meaning(image_id, label, info.get(NAMES), self._class_names, answers, file)

    def _label_folder(self, tag: str) -> Path:
        return Path(self._datastore.label_path(tag))

    def _tag_folders(self) -> list[Path]:
        """Without links that lead out of the studies."""
        root = self._folder.resolve()
        return sorted(path for path in self._folder.glob("labels/*/") if path.resolve().is_relative_to(root))

    def _object(self, datastore: LocalDatastoreModel, image_id: str) -> ImageLabelModel:
        """An image of a datastore that is being changed: a copy, since others may read the former state."""
        if image_id not in datastore.objects:
            raise not_found("image", image_id, list(datastore.objects))
        datastore.objects[image_id] = datastore.objects[image_id].model_copy(deep=True)
        return datastore.objects[image_id]

    def _label(self, datastore: LocalDatastoreModel, image_id: str, tag: str) -> DataModel:
        labels = self._object(datastore, image_id).labels
        if tag not in labels:
            raise not_found(f"label of {image_id} with the tag", tag, list(labels))
        return labels[tag]

    @contextmanager
    def _changing(self) -> Iterator[LocalDatastoreModel]:
        """Change what is on disk now, alone; nothing is changed where the block fails."""
        with self._lock:
            self._load()
            former = self._datastore
            changed = former.model_copy(update={"objects": dict(former.objects)})
            yield changed
            self._datastore = changed
            try:
                self._update_datastore_file()
            except BaseException:
                self._datastore = former
                raise

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        try:
            self._load()
        except InputError:
            if throw_exception:
                raise
            logger.exception("What is known of images and labels stays as it was")

    def _load(self) -> None:
        """Read the datastore's file, unless this is what was read or written last."""
        with self._lock:
            file = Path(self._datastore_config_path)
            if file.exists() and file.stat().st_mtime != self._config_ts:
                datastore = read_known(file)
                datastore.base_path = self._datastore_path
                self._datastore, self._config_ts = datastore, file.stat().st_mtime

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._lock:
            file = Path(self._datastore_config_path)
            write_known(self._datastore, file)
            self._config_ts = file.stat().st_mtime

    def _reconcile_datastore(self) -> None:
        """Take note of files that have come and gone; a label that has come has no names, and is not trained on."""
        with self._lock:
            self._load()
            known = self._datastore.objects
            objects = found_objects(self._folder, self._tag_folders(), known)
            if objects != known:
                self._datastore = self._datastore.model_copy(update={"objects": objects})
                self._update_datastore_file()

    def _to_id(self, file: str) -> tuple[str, str]:
        return split_suffix(file, (*IMAGE_SUFFIXES, *LABEL_SUFFIXES))

    def _on_moved(self, event: Any) -> None:
        """Another process has put a new file in its place."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self.refresh()
