//! Events as signed HTTP POSTs.

mod address;
mod sign;

pub use address::check_webhook_url;
pub use sign::SigningKey;
