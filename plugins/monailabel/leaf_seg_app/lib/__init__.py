"""The parts of the app: they adapt leaf_seg to MONAI Label's server, and hold no method of their own."""
