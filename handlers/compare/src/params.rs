//! Parameters of the handler.

use darkroom_media::compare::VmafOptions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Whether VMAF is measured, which takes most of the time. It needs the tool `ffmpeg-vmaf`; without it there is a
    /// warning in place of the number.
    pub vmaf: bool,
    /// Which viewer VMAF stands for.
    pub vmaf_model: VmafModel,
}

/// Which viewer VMAF stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VmafModel {
    /// Full HD television at three times the height of the picture: what is meant where nothing is said.
    #[default]
    #[serde(rename = "vmaf_v0.6.1")]
    Hd,
    /// 4K television at one and a half times its height.
    #[serde(rename = "vmaf_4k_v0.6.1")]
    Uhd,
    /// Full HD, without credit for sharpening and contrast.
    #[serde(rename = "vmaf_v0.6.1neg")]
    Neg,
}

impl VmafModel {
    /// Its name in libvmaf.
    pub fn name(self) -> &'static str {
        match self {
            VmafModel::Hd => VmafOptions::MODEL,
            VmafModel::Uhd => VmafOptions::MODEL_4K,
            VmafModel::Neg => VmafOptions::MODEL_NEG,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Params { vmaf: true, vmaf_model: VmafModel::default() }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_api::parse_params;
    use serde_json::json;

    use super::*;

    #[test]
    fn models_are_called_as_libvmaf_calls_them() {
        assert_eq!(parse_params::<Params>(&json!({})).unwrap(), Params::default());
        for model in [VmafModel::Hd, VmafModel::Uhd, VmafModel::Neg] {
            let params: Params = parse_params(&json!({ "vmaf_model": model.name() })).unwrap();
            assert_eq!((params.vmaf_model, params.vmaf), (model, true));
        }
        assert!(parse_params::<Params>(&json!({ "vmaf_model": "vmaf" })).is_err());
    }
}
