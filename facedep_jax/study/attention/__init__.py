"""A head that weighs windows of persons, as a model of a study."""
