//! What goes into a model and what comes out, so that a handler can check a user's file before the first frame.

use std::fmt;

use ort::value::{Outlet, TensorElementType, ValueType};

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Element type; `None` for what is no tensor.
    pub element: Option<TensorElementType>,
    /// Dimensions; `None` where the model takes any.
    pub dims: Vec<Option<u64>>,
}

impl From<&Outlet> for TensorInfo {
    fn from(outlet: &Outlet) -> TensorInfo {
        let (element, dims) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => (Some(*ty), shape.iter().map(|&d| u64::try_from(d).ok()).collect()),
            _ => (None, Vec::new()),
        };
        TensorInfo { name: outlet.name().to_owned(), element, dims }
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
        let element = self.element.map_or("no tensor".into(), |element| element.to_string());
        write!(f, "{} {element}[{}]", self.name, dims.join(","))
    }
}

/// Inputs and outputs of a session in one line, for error messages.
pub fn signature(session: &ort::session::Session) -> String {
    let list = |outlets: &[Outlet]| {
        let texts: Vec<String> = outlets.iter().map(|outlet| TensorInfo::from(outlet).to_string()).collect();
        texts.join(", ")
    };
    format!("inputs {}; outputs {}", list(session.inputs()), list(session.outputs()))
}
