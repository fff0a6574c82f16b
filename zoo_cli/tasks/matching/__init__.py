"""Which of several texts is most like another one."""
