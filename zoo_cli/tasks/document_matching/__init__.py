"""Which of several long texts is most like another one, read segment by segment."""
