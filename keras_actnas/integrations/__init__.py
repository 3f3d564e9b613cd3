"""Where networks come from and go to: Ultralytics, detection on images, quantization. Each part needs an extra."""
