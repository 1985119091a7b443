//! Tokens as texts: JSON Web Tokens signed with the hub's own key (HS256). What a token says counts only together with the
//! book, which knows those that were revoked.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rigwire_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Refused;

const MICROS: i64 = 1_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Names the entry in the book.
    pub jti: String,
    /// Whose it is, for people who look into it.
    pub sub: String,
    /// `viewer`, `operator`, `admin` or `agent`.
    pub role: String,
    pub iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
}

pub fn sign(claims: &Claims, key: &[u8]) -> anyhow::Result<String> {
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key))?)
}

/// What a token says, if this hub signed it and its time is not over.
pub fn read(text: &str, key: &[u8], now: Timestamp) -> Result<Claims, Refused> {
    let mut validation = Validation::new(Algorithm::HS256);
    // The time is an argument here: see below.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<Claims>(text, &DecodingKey::from_secret(key), &validation)
        .map_err(|_| Refused::Invalid)?
        .claims;
    match claims.exp.map(|seconds| Timestamp(seconds.saturating_mul(MICROS))) {
        Some(end) if end <= now => Err(Refused::Expired(end)),
        Some(_) | None => Ok(claims),
    }
}

/// Seconds, as tokens have them.
pub const fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"the hub's own key";

    fn claims(exp: Option<i64>) -> Claims {
        Claims { jti: "t-1".to_owned(), sub: "alice".to_owned(), role: "viewer".to_owned(), iat: 100, exp }
    }

    #[test]
    fn a_token_is_good_until_its_end_and_under_its_key_alone() {
        let token = sign(&claims(Some(200)), KEY).unwrap();
        let at = |seconds: i64| Timestamp(seconds * MICROS);
        assert_eq!(read(&token, KEY, at(199)).unwrap(), claims(Some(200)));
        assert_eq!(read(&token, KEY, at(200)), Err(Refused::Expired(at(200))));
        assert_eq!(read(&token, b"another key", at(150)), Err(Refused::Invalid));
        assert!(read(&sign(&claims(None), KEY).unwrap(), KEY, at(i64::MAX / MICROS)).is_ok());
    }

    #[test]
    fn what_is_no_token_of_ours_is_refused() {
        let token = sign(&claims(None), KEY).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        // {"alg":"none"} and {"alg":"HS512"}: the signature decides nothing there, or not by this key.
        for head in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzUxMiJ9", &head[1..]] {
            assert_eq!(read(&format!("{head}.{rest}"), KEY, Timestamp(0)), Err(Refused::Invalid), "{head}");
        }
        let (body, _) = rest.rsplit_once('.').unwrap();
        for text in ["", ".", "..", "a.b.c", token.trim_end_matches(|_| true), &format!("{head}.{body}.")] {
            assert_eq!(read(text, KEY, Timestamp(0)), Err(Refused::Invalid), "{text:?}");
        }
    }
}
