"""How files are written so that a crash loses nothing."""
