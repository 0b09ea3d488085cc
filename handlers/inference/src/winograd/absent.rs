//! In the place of the operator on processors that it is not written for.

use std::sync::Arc;

use ort::operator::OperatorDomain;

/// Domain of the operator.
pub(crate) const DOMAIN: &str = "darkroom";
/// Its name.
pub(crate) const NAME: &str = "Convolution3x3";

/// Its attribute, and what it may say.
pub(crate) const ACTIVATION: &str = "activation";
/// See the operator.
pub(crate) const SLOPE: &str = "slope";
/// See the operator.
pub(crate) const SILU: &str = "silu";
/// See the operator.
pub(crate) const GATE: &str = "gate";

/// Not on this processor.
pub(crate) fn is_there() -> bool {
    false
}

/// Nothing to share.
#[derive(Debug, Default)]
pub(crate) struct Shared;

/// A domain without it.
pub(crate) fn domain(_: &Arc<Shared>, _: &str) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)
}
