//! Which URLs a webhook may have.

use std::net::IpAddr;

use reqwest::Url;

use crate::address::{NOT_PUBLIC, is_public};

/// Checks what can be checked without resolving the host.
///
/// # Errors
/// A sentence that does not quote the URL: it may hold a token.
pub fn check_webhook_url(url: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|e| format!("is no URL: {e}"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err("http is allowed with allow_private = true only; use https".into()),
        _ => return Err("allowed are https, and http with allow_private = true".into()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name or password in the URL is not allowed; events are signed instead".into());
    }
    let literal = match url.host() {
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(url::Host::Domain(_)) => None,
        None => return Err("has no host".into()),
    };
    // The client does not resolve literal addresses, so its resolver does not see them.
    match literal {
        Some(ip) if !allow_private && !is_public(ip) => Err(NOT_PUBLIC.into()),
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_before_anything_is_resolved() {
        assert!(check_webhook_url("https://example.com/hook?x=1", false).is_ok());
        assert!(check_webhook_url("http://127.0.0.1:8080/", true).is_ok());
        for bad in [
            "http://example.com/",
            "ftp://example.com/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://me:pw@example.com/",
            "/hook",
        ] {
            let why = check_webhook_url(bad, false).unwrap_err();
            assert!(!why.contains("pw"), "{why}");
        }
    }
}
