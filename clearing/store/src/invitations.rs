//! Invitations to bring keys: good once, and not for long; and the enrolment that uses one up.

use diesel::prelude::*;
use jiff::{SignedDuration, Timestamp};
use migrations::schema::invitation;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::jws::VerifyingKey;
use partner_sdk::wire::keys::Spki;
use partner_sdk::{Code, KeyId, PartnerId, Problem};

use super::head::lock_head;
use super::keys::{Changed, KeysError, NewSigningKey, change, earliest, enter, known_partner, may_alone, put_signing, put_tls, tell};
use super::rows::read;

/// How long an invitation is good for.
const INVITED: SignedDuration = SignedDuration::from_hours(24);

/// Whether an invitation can be proposed: for a partner that hasn't gone, with a token that was never given before.
pub fn may_invite(conn: &mut Conn, id: &PartnerId, token_sha256: &str) -> Result<(), KeysError> {
    known_partner(conn, id)?;
    let refused = |why: &str| Err(Problem::new(Code::BadTerms, why).at(Some("token_sha256")).into());
    if token_sha256.len() != 64 || !token_sha256.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return refused("the token's SHA-256 is 64 digits of lower-case hexadecimal");
    }
    let same = invitation::table.find(token_sha256).count();
    match each_backend!(conn, |c| same.get_result::<i64>(c)).map_err(DbError::from)? {
        0 => Ok(()),
        _ => refused("this token was given before"),
    }
}

/// Makes a token (a secret of 32 random bytes, as text), given by its SHA-256, an invitation of the partner on one person's word.
pub fn invite(conn: &mut Conn, id: &PartnerId, token_sha256: &str, now: Timestamp) -> Result<Timestamp, KeysError> {
    conn.transaction(|conn| {
        lock_head(conn)?;
        may_alone(conn)?;
        may_invite(conn, id, token_sha256)?;
        enter(conn, now, "invited", id, &[("token_sha256", token_sha256)])?;
        put_invitation(conn, id, token_sha256, now)
    })
}

/// Makes a token an invitation of the partner, good once and for 24 hours from now. An earlier one that wasn't used is void. The partner is told, so that one
/// that has keys already hears of it.
pub fn put_invitation(conn: &mut Conn, id: &PartnerId, token_sha256: &str, now: Timestamp) -> Result<Timestamp, KeysError> {
    let expires_at = now.saturating_add(INVITED).map_err(|_| DbError::Corrupt("the clock".into()))?;
    let row = (
        invitation::token_sha256.eq(token_sha256),
        invitation::partner.eq(id.as_str()),
        invitation::expires_at.eq(expires_at.as_microsecond()),
        invitation::used_at.eq(None::<i64>),
    );
    let unused = invitation::table
        .filter(invitation::partner.eq(id.as_str()))
        .filter(invitation::used_at.is_null());
    each_backend!(conn, |c| diesel::delete(unused).execute(c)).map_err(DbError::from)?;
    each_backend!(conn, |c| diesel::insert_into(invitation::table).values(row).execute(c)).map_err(DbError::from)?;
    tell(conn, now, "key.invited", id, id.as_str(), &[("expires_at", expires_at.to_string())])?;
    Ok(expires_at)
}

/// Voids every invitation that wasn't used: what one person gave before the founding doesn't outlive it. The partners are told.
pub fn void_invitations(conn: &mut Conn, now: Timestamp) -> Result<(), DbError> {
    let unused = invitation::table.filter(invitation::used_at.is_null());
    let mut partners: Vec<String> = each_backend!(conn, |c| unused.select(invitation::partner).load(c))?;
    // Sorted here: databases sort texts in orders of their own.
    partners.sort();
    each_backend!(conn, |c| diesel::delete(unused).execute(c))?;
    for id in partners {
        let id: PartnerId = read(&id, "invitation.partner")?;
        tell(conn, now, "key.uninvited", &id, id.as_str(), &[])?;
    }
    Ok(())
}

/// Whether the token with this SHA-256 is an invitation of the partner that is good now. It is looked up by its hash, so the time that takes tells nothing about it.
pub fn is_invited(conn: &mut Conn, id: &PartnerId, token_sha256: &str, now: Timestamp) -> Result<bool, DbError> {
    let good = invitation::table
        .filter(invitation::token_sha256.eq(token_sha256))
        .filter(invitation::partner.eq(id.as_str()))
        .filter(invitation::expires_at.gt(now.as_microsecond()))
        .filter(invitation::used_at.is_null())
        .count();
    let rows: i64 = each_backend!(conn, |c| good.get_result(c))?;
    Ok(rows == 1)
}

/// Uses up an invitation and registers the keys that it was used for, or does neither. The signing key is good from a little earlier, for tills whose
/// clocks are slow.
pub fn enrol(
    conn: &mut Conn,
    token_sha256: &str,
    id: &PartnerId,
    spki: Spki,
    (kid, key): (&KeyId, &VerifyingKey),
    now: Timestamp,
) -> Result<Changed, KeysError> {
    let new = NewSigningKey {
        partner: id.clone(),
        kid: kid.clone(),
        key: key.clone(),
        valid_from: earliest(now),
        valid_until: None,
    };
    change(conn, |conn, ring| {
        if !is_invited(conn, id, token_sha256, now)? {
            return Err(Problem::new(Code::InvitationInvalid, Code::InvitationInvalid.title()).into());
        }
        known_partner(conn, id)?;
        let used = diesel::update(invitation::table.find(token_sha256)).set(invitation::used_at.eq(now.as_microsecond()));
        each_backend!(conn, |c| used.execute(c)).map_err(DbError::from)?;
        let (spki_text, public_key) = (spki.to_string(), key.to_base64url());
        let fields = [
            ("token_sha256", token_sha256),
            ("spki", &spki_text),
            ("kid", kid.as_str()),
            ("public_key", &public_key),
        ];
        enter(conn, now, "enrolled", id, &fields)?;
        Ok(put_tls(conn, ring, id, spki, now)? | put_signing(conn, ring, &new, now)?)
    })
}
