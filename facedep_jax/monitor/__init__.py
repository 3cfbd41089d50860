"""A live source, frame by frame, through the path of clips: found, cropped, computed, scored. Nothing is kept of it
but what is recorded; it knows nothing of terminals."""

from facedep_jax.monitor.live_scoring import ENDS, INTERRUPTED, MonitorSettings, MonitorSummary, monitor

__all__ = ["ENDS", "INTERRUPTED", "MonitorSettings", "MonitorSummary", "monitor"]
