"""Detection on images with a YOLO. For a .tflite, NumPy, OpenCV and a TFLite runtime are enough."""
