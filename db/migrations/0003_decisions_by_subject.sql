-- The decisions about a booking or a machine, in their order (WHERE subject = ?): the reader's
-- history of a booking.
ALTER TABLE decision
    ADD KEY decision_subject (subject);
