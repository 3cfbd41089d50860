"""cv2 with its doors shut: every use of it in the package comes through here. Knows nothing of images.

The variables are read when cv2 is imported or a file is opened, so they are set before, whatever the user's
environment says.
"""

import os

# 134 megapixels, 400 MB as RGB: the largest stitched portraits pass, a 20000×20000 bomb does not.
MAX_PIXELS = 1 << 27

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)
# Demuxers that read one file and nothing it names: no hls, concat, image2, dash or other playlists.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,ivf,flv,asf,ogg,mxf,mjpeg,dv,rm"
)
# Of OpenCV only cameras are read; clips are ffmpeg_input.py's.
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"protocol_whitelist;file|format_whitelist;{CONTAINERS}"

import cv2  # noqa: E402

__all__ = ["CONTAINERS", "MAX_PIXELS", "cv2"]
