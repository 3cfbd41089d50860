"""The tutorial's network on pixels, trained from scratch: what frozen features have to beat. It knows no cache."""
