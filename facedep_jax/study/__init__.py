"""Persons with labels or questionnaire scores: what their faces' behaviour says of these, and how sure that is."""
