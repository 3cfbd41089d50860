"""Columns of persons → what ridge regressions say of persons whom they have not seen. Knows no table and no cache."""
