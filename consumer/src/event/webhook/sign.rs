//! Signatures as Standard Webhooks defines them: HMAC-SHA256 over `id.timestamp.body`.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// Key of a webhook's signature.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

impl SigningKey {
    /// Reads `whsec_` and base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// A sentence, without the key.
    pub fn parse(secret: &Secret) -> Result<Self, String> {
        let allowed = "allowed is `whsec_` and the base64 of 24 to 64 random bytes";
        let text = secret.expose().strip_prefix("whsec_").ok_or(allowed)?;
        let key = BASE64.decode(text.as_bytes()).map_err(|_| allowed)?;
        if !(24..=64).contains(&key.len()) {
            return Err(format!("{allowed}; it has {}", key.len()));
        }
        Hmac::new_from_slice(&key).map(SigningKey).map_err(|_| allowed.to_owned())
    }

    /// Value of the header `webhook-signature`.
    pub fn sign(&self, id: &str, unix_secs: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{unix_secs}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example of Standard Webhooks.
    #[test]
    fn the_signature_is_the_specifications() {
        let key = SigningKey::parse(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn weak_and_malformed_keys_are_refused_without_showing_them() {
        for bad in ["", "hunter2hunter2hunter2hunter2", "whsec_aHVudGVyMg==", "whsec_***"] {
            let why = SigningKey::parse(&Secret::new(bad)).unwrap_err();
            assert!(why.contains("24 to 64") && !why.contains("hunter2"), "{why}");
        }
    }
}
