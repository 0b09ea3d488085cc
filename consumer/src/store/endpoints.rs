//! Which URL and which signature the requests to a bucket get, worked out once for each bucket.
//!
//! The SDK goes through S3's rules for endpoints with every request, twice, and remembers the last answer only, which
//! another key or bucket replaces. The rules never look at the key, the prefix or the source of a copy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::config::endpoint::{DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint};

/// Buckets that are remembered.
const MAX_BUCKETS: usize = 16;

/// The rules of the SDK, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    rules: DefaultResolver,
    known: Mutex<Vec<(Params, Endpoint)>>,
}

impl Endpoints {
    fn known(&self) -> MutexGuard<'_, Vec<(Params, Endpoint)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolveEndpoint for Endpoints {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        let same = |(known, _): &&(Params, Endpoint)| asked(known) == asked(params);
        if let Some((_, endpoint)) = self.known().iter().find(same) {
            return EndpointFuture::ready(Ok(endpoint.clone()));
        }
        EndpointFuture::new(async move {
            let endpoint = self.rules.resolve_endpoint(params).await?;
            let mut known = self.known();
            if known.len() == MAX_BUCKETS {
                known.remove(0);
            }
            known.push((params.clone(), endpoint.clone()));
            Ok(endpoint)
        })
    }
}

/// All that the rules look at.
fn asked(params: &Params) -> ([Option<&str>; 3], [Option<bool>; 11]) {
    let names = [params.bucket(), params.region(), params.endpoint()];
    let switches = [
        params.use_fips(),
        params.use_dual_stack(),
        params.force_path_style(),
        params.accelerate(),
        params.use_global_endpoint(),
        params.use_object_lambda_endpoint(),
        params.disable_access_points(),
        params.disable_multi_region_access_points(),
        params.use_arn_region(),
        params.use_s3_express_control_endpoint(),
        params.disable_s3_express_session_auth(),
    ];
    (names, switches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_remembered_is_what_the_rules_say() {
        let (endpoints, rules) = (Endpoints::default(), DefaultResolver::new());
        let buckets =
            (0..MAX_BUCKETS + 2).map(|n| format!("bucket-{n}")).chain(["under_score".into(), "bucket-1".into()]);
        for bucket in buckets {
            for (region, endpoint) in [("eu-west-1", None), ("us-east-1", Some("http://127.0.0.1:9000"))] {
                for key in ["a/b", "c"] {
                    let params = Params::builder().region(region).set_endpoint(endpoint.map(str::to_owned));
                    let params = params.bucket(&bucket).key(key).force_path_style(endpoint.is_some()).build().unwrap();
                    let said = rules.resolve_endpoint(&params).await.unwrap();
                    assert_eq!(endpoints.resolve_endpoint(&params).await.unwrap(), said, "{bucket} {key}");
                }
            }
        }
        assert_eq!(endpoints.known().len(), MAX_BUCKETS);
    }
}
