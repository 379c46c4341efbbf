"""The objective that training minimises, and its learning rate."""
