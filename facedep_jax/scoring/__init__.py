"""From cached features to what is said of each clip. It knows nothing of files of video, nor of how heads are trained.

frames → windows and clips → (relative to others of the same person) → tables; and, where faces are kept, the frames
that moved a score most, where the head looked, and whether looking there mattered.
"""
