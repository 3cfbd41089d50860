"""What runs in the watched worker: bytes → pixels, times, faces, crops. The only user of cv2; it knows no cache."""
