-- Lists of mails that wait: few of all that ever were, like those that failed.
CREATE INDEX delivery_pending ON delivery (id) WHERE state = 'pending';
