"""What is done on a link: pulling, deleting, looking, proving, mending."""
