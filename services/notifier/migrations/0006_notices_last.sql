-- The notices of a transaction are written together, as its last statement; the mails about them before that.

ALTER TABLE delivery_notice DROP CONSTRAINT delivery_notice_notice_id_fkey,
    ADD FOREIGN KEY (notice_id) REFERENCES notice DEFERRABLE INITIALLY DEFERRED;
