-- Whether a mail takes further facts is a column of its own: one that was claimed and given back untried has no
-- attempt, and yet another of its kind may have begun meanwhile.
ALTER TABLE delivery ADD COLUMN gathers boolean NOT NULL DEFAULT true;
UPDATE delivery SET gathers = false WHERE attempts > 0 OR state <> 'pending';
DROP INDEX delivery_gathering;
CREATE UNIQUE INDEX delivery_gathering ON delivery (ticket_id, recipient, template)
    WHERE state = 'pending' AND gathers;
