"""What workers send: checked before it is stored."""
