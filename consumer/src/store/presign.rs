//! URLs that let others read or write one object for a while, without keys.

use std::time::Duration;

use aws_sdk_s3::config::{Builder, ResponseChecksumValidation};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use darkroom_api::{ErrorCode, JobError, Result};

use super::error::{Access, Failure};
use super::{ObjectRef, Store};

/// Longest life of a presigned URL that signature version 4 allows.
pub(crate) const MAX_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A request that anybody may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    /// Where to. Whoever has it has the right.
    pub url: String,
    /// Headers that belong to the signature and must be sent, with their values.
    pub headers: Vec<(String, String)>,
}

impl From<PresignedRequest> for Presigned {
    fn from(request: PresignedRequest) -> Self {
        let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Presigned { url: request.uri().to_owned(), headers }
    }
}

impl Store {
    /// A URL that lets anybody read the object for a while (at most seven days).
    ///
    /// # Errors
    /// [`ErrorCode::AccessDenied`] without credentials to sign with.
    pub async fn presign_get(&self, bucket: &str, key: &str, life: Duration) -> Result<String> {
        let object = ObjectRef::new(self.name(), bucket, key);
        let request = self.client.get_object().bucket(bucket).key(key);
        let payer = self.terms.payer();
        // Whoever opens the URL sends no header of ours: checksums are not asked for, and who pays stands in the query.
        let plain = Builder::new().response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let request = request.customize().config_override(plain).mutate_request(move |request| {
            if let Some(payer) = &payer {
                let (uri, joint) = (request.uri(), if request.uri().contains('?') { '&' } else { '?' });
                let uri = format!("{uri}{joint}x-amz-request-payer={}", payer.as_str());
                // What was a URI stays one.
                drop(request.set_uri(uri));
            }
        });
        let signed = request.presigned(terms(&object, life)?).await;
        signed.map(|r| r.uri().to_owned()).map_err(|e| Failure::new(self.name(), Access::Read, &object, &e).into())
    }

    /// A request that lets anybody write the object for a while (at most seven days), over what may be there. Its length
    /// is not bounded by the signature.
    ///
    /// # Errors
    /// [`ErrorCode::AccessDenied`] without credentials to sign with.
    pub async fn presign_put(&self, bucket: &str, key: &str, life: Duration) -> Result<Presigned> {
        let object = ObjectRef::new(self.name(), bucket, key);
        let request = self.client.put_object().bucket(bucket).key(key);
        let request = request.set_server_side_encryption(self.terms.encryption());
        let request = request.set_ssekms_key_id(self.terms.kms_key_id.clone()).set_request_payer(self.terms.payer());
        let signed = request.presigned(terms(&object, life)?).await;
        signed.map(Presigned::from).map_err(|e| Failure::new(self.name(), Access::Write, &object, &e).into())
    }
}

fn terms(object: &ObjectRef, life: Duration) -> Result<PresigningConfig> {
    PresigningConfig::expires_in(life.clamp(Duration::from_secs(1), MAX_PRESIGN))
        .map_err(|e| JobError::new(ErrorCode::Internal, format!("A URL for {object} cannot be signed: {e}.")))
}
