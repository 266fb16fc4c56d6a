"""The parts of `python -m deploy.try_installation`: images, containers, people, faults, attacks."""
