"""Pages for administrators about what comes from other systems: quarantine, links into exams."""
