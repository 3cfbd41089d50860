"""Stage one: files of sources → features in a cache, on this machine or several. It knows no label and no head."""
