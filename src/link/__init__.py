"""Share living data between DataJoint servers."""
