"""Both ends of a link: found, checked against each other, declared."""
