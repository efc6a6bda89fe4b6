"""What people hold: codecs that turn pictures into files, and the Pillow plugin."""
