"""keras-actnas."""
