"""The statements of scoped keys. Whether a key is valid is judged by the database's clock, one for all processes."""

from typing import Final

GRANT: Final = """
-- key_grant: the key behind the prefix $1, when it is valid now
SELECT key.id, key.scopes, key.per_minute, secret.hash
  FROM api_key_secrets AS secret JOIN api_keys AS key ON key.id = secret.key_id
 WHERE secret.prefix = $1
   AND key.revoked_at IS NULL
   AND (key.expires_at IS NULL OR key.expires_at > now())
   AND (secret.valid_until IS NULL OR secret.valid_until > now())"""

USED: Final = """
-- key_used: note that the keys $1 were used; a key noted within the last minute stays as it is
UPDATE api_keys SET last_used_at = now()
 WHERE id = ANY($1) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"""

NEW: Final = """
-- key_new
INSERT INTO api_keys (id, name, scopes, per_minute, expires_at) VALUES ($1, $2, $3, $4, $5)"""

ADD: Final = """
-- key_add: one more secret for a key
INSERT INTO api_key_secrets (key_id, prefix, hash) VALUES ($1, $2, $3)"""

LOCK_USABLE: Final = """
-- key_lock_usable: one rotation at a time; no row for an unknown, expired or revoked key
SELECT id FROM api_keys
 WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE"""

END_SECRETS: Final = """
-- key_end_secrets: the secrets of $1 end after $2, those that end sooner stay so; what has ended goes
WITH gone AS (DELETE FROM api_key_secrets WHERE key_id = $1 AND valid_until <= now() RETURNING prefix)
UPDATE api_key_secrets SET valid_until = LEAST(valid_until, now() + $2::interval)
 WHERE key_id = $1 AND prefix NOT IN (SELECT prefix FROM gone)"""

REVOKE: Final = """
-- key_revoke: for ever; a repetition changes nothing
UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"""

_COLUMNS: Final = """
SELECT key.id, key.name, key.scopes, key.per_minute, key.created_at, key.expires_at, key.revoked_at, key.last_used_at,
       (SELECT coalesce(json_agg(json_build_object('prefix', 'ccl_' || prefix, 'created_at', created_at,
                                                   'valid_until', valid_until) ORDER BY created_at DESC), '[]')
          FROM api_key_secrets
         WHERE key_id = key.id AND (valid_until IS NULL OR valid_until > now())) AS secrets
  FROM api_keys AS key"""

GET: Final = f"""
-- key_get
{_COLUMNS} WHERE key.id = $1"""

PAGE: Final = f"""
-- key_page: newest first, after the cursor ($1, $2) when there is one
{_COLUMNS}
 WHERE $1::timestamptz IS NULL OR (key.created_at, key.id) < ($1, $2)
 ORDER BY key.created_at DESC, key.id DESC LIMIT $3"""
