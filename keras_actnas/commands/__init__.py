"""The commands of `keras-actnas`, one module each: `define_flags(values)` and `run(values, positional)`."""
