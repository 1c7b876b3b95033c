//! The `Calendly-Webhook-Signature` header: reading, checking and making it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Longest header that is read; a genuine one has about 85 bytes. It bounds how many `v1` there can
/// be, each of which costs a comparison per key: 120, less work than to hash a body.
const HEADER_MAX_BYTES: usize = 8 * 1024;

/// A subscription's signing key: its text, taken as UTF-8 and not decoded \[C\].
#[derive(Clone)]
pub struct SigningKey(Box<str>);

impl SigningKey {
    /// Takes a key without the white space around it; `None` when nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// HMAC-SHA256 over `t` + `.` + the raw body \[C\], not yet finished.
    fn mac(&self, t: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(t.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// Why a delivery is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no header: the subscription has no signing key \[C\], or Calendly did not send it.
    #[error("the Calendly-Webhook-Signature header is missing")]
    Missing,
    /// The header is not one `t` and one or more `v1`.
    #[error("the Calendly-Webhook-Signature header is malformed")]
    Malformed,
    /// No `v1` was made from this body with one of the keys.
    #[error("the Calendly-Webhook-Signature header does not match the body")]
    Mismatch,
}

impl SignatureError {
    /// The problem code of the answer: stable, `snake_case`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Malformed => "signature_malformed",
            Self::Mismatch => "signature_mismatch",
        }
    }
}

/// A header that could be read: when the delivery says it was signed, and its MACs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The header's `t`: seconds since 1970, UTC.
    pub signed_at_s: i64,
    /// `t` as it stood there: `007` is signed as `007`, not as `7`.
    t: Box<str>,
    macs: Vec<[u8; 32]>,
}

impl Signature {
    /// Reads `t=<unix seconds>,v1=<hex>` \[C\].
    ///
    /// Spaces, unknown parts, upper-case hex and several `v1` are accepted \[3P\]; a `v1` that is
    /// not 64 hex digits is passed over, as one that cannot match.
    ///
    /// # Errors
    /// `Missing` without a header. `Malformed` when `t` is missing, repeated or not a number,
    /// no `v1` is 64 hex digits, or the header is longer than 8 KiB.
    pub fn parse(header: Option<&[u8]>) -> Result<Self, SignatureError> {
        let header = header.ok_or(SignatureError::Missing)?;
        Self::read(header).ok_or(SignatureError::Malformed)
    }

    fn read(header: &[u8]) -> Option<Self> {
        if header.len() > HEADER_MAX_BYTES {
            return None;
        }
        let (mut stamp, mut macs) = (None, Vec::new());
        for part in str::from_utf8(header).ok()?.split(',') {
            match part.split_once('=').map(|(k, v)| (k.trim(), v.trim())) {
                Some(("t", _)) if stamp.is_some() => return None,
                Some(("t", value)) => stamp = Some(value),
                Some(("v1", value)) => macs.extend(decode_mac(value)),
                _ => {}
            }
        }
        let t = stamp?;
        let signed_at_s = decode_seconds(t)?;
        (!macs.is_empty()).then(|| Self {
            signed_at_s,
            t: t.into(),
            macs,
        })
    }

    /// Checks that the body was signed with one of the keys, which are several during a rotation.
    ///
    /// Says nothing about the age of the signature: see [`Signature::is_timely`].
    ///
    /// # Errors
    /// `Mismatch` when no pair of key and `v1` fits, so always without keys.
    pub fn verify(&self, body: &[u8], keys: &[SigningKey]) -> Result<(), SignatureError> {
        let mut is_genuine = false;
        for key in keys {
            let computed = key.mac(&self.t, body);
            for mac in &self.macs {
                // Every pair is compared, so the time taken does not tell which key is in use.
                is_genuine |= computed.clone().verify_slice(mac).is_ok();
            }
        }
        if is_genuine {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    /// Whether `now_s` (seconds since 1970) is at most `tolerance_s` seconds before or after `t`.
    #[must_use]
    pub fn is_timely(&self, now_s: i64, tolerance_s: u64) -> bool {
        now_s.abs_diff(self.signed_at_s) <= tolerance_s
    }
}

/// The header that Calendly would send for this body; `signed_at_s` in seconds since 1970.
#[must_use]
pub fn sign(key: &SigningKey, signed_at_s: i64, body: &[u8]) -> String {
    let mac = key.mac(&signed_at_s.to_string(), body).finalize();
    format!("t={signed_at_s},v1={}", hex::encode(mac.into_bytes()))
}

fn decode_mac(digits: &str) -> Option<[u8; 32]> {
    let mut mac = [0; 32];
    hex::decode_to_slice(digits, &mut mac).ok()?;
    Some(mac)
}

/// Digits only: `parse` alone would let a sign through.
fn decode_seconds(t: &str) -> Option<i64> {
    let is_numeric = t.bytes().all(|byte| byte.is_ascii_digit());
    is_numeric.then(|| t.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"event":"invitee.created","payload":{"name":"Zo\u00eb"}}"#;

    /// Made by another program: `printf '%s.%s' "$t" "$body" | openssl dgst -sha256 -hmac "$key"`.
    const MAC: &str = "5cf153e6701aa1718622d748a4684eee8f521b80d602275d6b6c9ded42c43e5f";
    const MAC_OF_007: &str = "7b353b402b79e399c5e91b32bc8cf127a05d0d8c49f2e0f018649c2c35118ec0";

    fn key(text: &str) -> SigningKey {
        SigningKey::new(text).unwrap()
    }

    fn parse(header: &str) -> Result<Signature, SignatureError> {
        Signature::parse(Some(header.as_bytes()))
    }

    fn verify(header: &str, body: &[u8], keys: &[SigningKey]) -> Result<(), SignatureError> {
        parse(header)?.verify(body, keys)
    }

    #[test]
    fn a_key_is_trimmed_never_empty_and_never_printed() {
        assert!(SigningKey::new(" \t\n").is_none());
        let trimmed = key(" whsec-1\n");
        assert_eq!(sign(&trimmed, 1, BODY), sign(&key("whsec-1"), 1, BODY));
        assert_eq!(format!("{trimmed:?}"), "SigningKey(redacted)");
    }

    #[test]
    fn the_header_is_what_another_program_computes() {
        let header = format!("t=1700000000,v1={MAC}");
        assert_eq!(sign(&key("whsec-1"), 1_700_000_000, BODY), header);
        assert_eq!(verify(&header, BODY, &[key("whsec-1")]), Ok(()));
    }

    #[test]
    fn t_is_hashed_as_it_stood_in_the_header() {
        let keys = [key("whsec-1")];
        let padded = format!("t=007,v1={MAC_OF_007}");
        assert_eq!(parse(&padded).unwrap().signed_at_s, 7);
        assert_eq!(verify(&padded, BODY, &keys), Ok(()));
        let shortened = format!("t=7,v1={MAC_OF_007}");
        assert_eq!(
            verify(&shortened, BODY, &keys),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn spaces_unknown_parts_and_upper_case_are_accepted() {
        let keys = [key("whsec-1")];
        let upper = MAC.to_uppercase();
        for header in [
            format!("  t=1700000000 ,\tv1={MAC} "),
            format!("v1={MAC},t=1700000000"),
            format!("t = 1700000000, v1 = {upper}"),
            format!("v0=old,t=1700000000,v1={MAC},v2=x=y,,flag,"),
        ] {
            assert_eq!(verify(&header, BODY, &keys), Ok(()), "{header}");
        }
    }

    #[test]
    fn a_header_that_is_not_one_t_and_some_v1_is_malformed() {
        for header in [
            String::new(),
            "t=1".into(),
            format!("v1={MAC}"),
            format!("t=,v1={MAC}"),
            format!("t=1,t=1,v1={MAC}"),
            format!("t=-1,v1={MAC}"),
            format!("t=+1,v1={MAC}"),
            format!("t=1.5,v1={MAC}"),
            format!("t=1 2,v1={MAC}"),
            format!("t=\u{661},v1={MAC}"),
            format!("t=9223372036854775808,v1={MAC}"),
            format!("T=1,v1={MAC}"),
            "t=1,v1=".into(),
            format!("t=1,v1={}", &MAC[1..]),
            format!("t=1,v1={MAC}0"),
            format!("t=1,v1=g{}", &MAC[1..]),
            "t=1,v1=short,v1=".into(),
            format!("t=1,v1=short,v1={MAC},t=1"),
            format!("t=1,v1={MAC},pad={}", "x".repeat(HEADER_MAX_BYTES)),
        ] {
            assert_eq!(parse(&header), Err(SignatureError::Malformed), "{header}");
        }
        let not_utf8 = Signature::parse(Some(b"t=1,x=\xff"));
        assert_eq!(not_utf8, Err(SignatureError::Malformed));
    }

    #[test]
    fn no_header_is_missing() {
        assert_eq!(Signature::parse(None), Err(SignatureError::Missing));
    }

    #[test]
    fn each_error_has_its_code() {
        let codes = [
            SignatureError::Missing,
            SignatureError::Malformed,
            SignatureError::Mismatch,
        ]
        .map(SignatureError::code);
        let expected = [
            "signature_missing",
            "signature_malformed",
            "signature_mismatch",
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn any_changed_byte_of_the_body_is_a_mismatch() {
        let keys = [key("whsec-1")];
        let signature = parse(&sign(&keys[0], 1_700_000_000, BODY)).unwrap();
        for index in 0..BODY.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut body = BODY.to_vec();
                body[index] ^= flip;
                let refused = Err(SignatureError::Mismatch);
                assert_eq!(signature.verify(&body, &keys), refused, "byte {index}");
            }
        }
        for body in [&BODY[1..], &BODY[..BODY.len() - 1], b""] {
            assert!(signature.verify(body, &keys).is_err());
        }
    }

    #[test]
    fn any_changed_digit_of_the_header_is_a_mismatch() {
        let keys = [key("whsec-1")];
        let header = sign(&keys[0], 1_700_000_000, BODY).into_bytes();
        let digits = (0..header.len()).filter(|&at| at >= 16 || (2..12).contains(&at));
        for index in digits {
            let mut changed = header.clone();
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            let signature = Signature::parse(Some(&changed)).unwrap();
            let refused = Err(SignatureError::Mismatch);
            assert_eq!(signature.verify(BODY, &keys), refused, "digit {index}");
        }
    }

    #[test]
    fn during_a_rotation_either_key_verifies_at_any_place() {
        let (old, new, other) = (key("old"), key("new"), key("other"));
        let by_old = sign(&old, 5, BODY);
        for keys in [
            vec![old.clone()],
            vec![new.clone(), old.clone()],
            vec![old.clone(), new.clone()],
            vec![other.clone(), old, new.clone()],
        ] {
            assert_eq!(verify(&by_old, BODY, &keys), Ok(()));
        }
        let refused = Err(SignatureError::Mismatch);
        assert_eq!(verify(&by_old, BODY, &[new, other]), refused);
        assert_eq!(verify(&by_old, BODY, &[]), refused);
    }

    #[test]
    fn any_of_several_v1_may_match() {
        let keys = [key("whsec-1")];
        let wrong = format!("v1={}", "0".repeat(64));
        let right = format!("v1={MAC}");
        for parts in [
            [&right, &wrong, &wrong],
            [&wrong, &right, &wrong],
            [&wrong, &wrong, &right],
        ] {
            let header = format!("t=1700000000,{},{},{}", parts[0], parts[1], parts[2]);
            assert_eq!(verify(&header, BODY, &keys), Ok(()));
        }
    }

    #[test]
    fn a_v1_that_cannot_match_hides_none_that_does() {
        let keys = [key("whsec-1")];
        let right = format!("v1={MAC}");
        let odd = ["v1=".to_owned(), "v1=short".into(), format!("v1={MAC}0")];
        for other in odd.into_iter().chain([format!("pad={}", "x".repeat(4096))]) {
            for parts in [[&right, &other], [&other, &right]] {
                let header = format!("t=1700000000,{},{}", parts[0], parts[1]);
                assert_eq!(verify(&header, BODY, &keys), Ok(()), "{header}");
            }
        }
        let wrong = vec![format!("v1={}", "0".repeat(64)); 100].join(",");
        let last = format!("t=1700000000,{wrong},{right}");
        assert_eq!(verify(&last, BODY, &keys), Ok(()));
        let none = format!("t=1700000000,{wrong},v1=short");
        let refused = Err(SignatureError::Mismatch);
        assert_eq!(verify(&none, BODY, &keys), refused);
    }

    #[test]
    fn the_tolerance_counts_on_both_sides_and_never_overflows() {
        let signature = parse(&format!("t=1000,v1={MAC}")).unwrap();
        assert!(signature.is_timely(820, 180) && signature.is_timely(1180, 180));
        assert!(!signature.is_timely(819, 180) && !signature.is_timely(1181, 180));
        assert!(signature.is_timely(1000, 0) && !signature.is_timely(1001, 0));
        let last = parse(&format!("t={},v1={MAC}", i64::MAX)).unwrap();
        assert!(!last.is_timely(i64::MIN, u64::MAX - 1));
        assert!(last.is_timely(i64::MIN, u64::MAX));
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Signature::parse(Some(&header));
        }

        #[test]
        fn what_is_signed_verifies(
            text in "\\S{1,80}",
            signed_at_s in 0..i64::MAX,
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let keys = [key(&text)];
            let signature = parse(&sign(&keys[0], signed_at_s, &body)).expect("own header");
            prop_assert_eq!(signature.signed_at_s, signed_at_s);
            prop_assert_eq!(signature.verify(&body, &keys), Ok(()));
            prop_assert!(signature.verify(&body, &[key("unrelated key")]).is_err());
        }
    }
}
