//! Models that users bring: run one picture at a time, and known by the shapes of what they make. Names differ from export to
//! export and what a file says of its shapes is often wrong, so each model is tried once.

use darkroom_api::{ErrorCode, JobError, Result};
use darkroom_inference::ort::session::SessionInputValue;

use darkroom_inference::ort::value::{DynValue, TensorElementType, TensorRef, ValueRef, ValueType};
use darkroom_inference::{PooledSession, TensorInfo, ort};

/// Numbers that are read of one result; a mesh has some twenty thousand.
const MAX_NUMBERS: usize = 1 << 24;

/// What a model made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// What the model calls it.
    pub name: String,
    /// Its shape; empty where its numbers are of a kind that no adapter reads.
    pub dims: Vec<usize>,
    /// Kind and shape where no adapter reads them.
    pub unread: Option<String>,
    /// Whether its numbers are whole by their type.
    pub whole: bool,
    /// Its numbers; empty where they are of a kind that no adapter reads.
    pub numbers: Vec<f32>,
}

/// Numbers that go in.
pub enum Feed<'a> {
    /// f32.
    Floats(&'a [f32]),
    /// i32.
    Ints(&'a [i32]),
    /// u8.
    Bytes(&'a [u8]),
}

/// A session of a user's model.
pub struct UserModel<'a> {
    session: PooledSession<'a>,
    /// What it takes.
    pub inputs: Vec<TensorInfo>,
}

impl<'a> UserModel<'a> {
    /// The model of a session.
    pub fn new(session: PooledSession<'a>) -> UserModel<'a> {
        let inputs = session.inputs().iter().map(TensorInfo::from).collect();
        UserModel { session, inputs }
    }

    /// Name in the registry.
    pub fn name(&self) -> &str {
        self.session.name()
    }

    /// The only input of that many dimensions: its name, its type, and its sides, where it does not take any.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] with none, or with several.
    pub fn input(&self, rank: usize, what: &str) -> Result<TensorInfo> {
        let mut fitting = self.inputs.iter().filter(|input| input.dims.len() == rank);
        match (fitting.next(), fitting.next()) {
            (Some(input), None) => Ok(input.clone()),
            _ => Err(self.refuse(what, &format!("it takes not exactly one tensor of {rank} dimensions"), &[])),
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Those of ONNX Runtime.
    pub fn run(&mut self, inputs: &[(&str, &[usize], Feed<'_>)]) -> Result<Vec<Made>> {
        self.session.call(|session| {
            let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
            for (name, dims, feed) in inputs {
                let dims = dims.to_vec();
                let value: SessionInputValue<'_> = match feed {
                    Feed::Floats(numbers) => TensorRef::from_array_view((dims, *numbers))?.into(),
                    Feed::Ints(numbers) => TensorRef::from_array_view((dims, *numbers))?.into(),
                    Feed::Bytes(numbers) => TensorRef::from_array_view((dims, *numbers))?.into(),
                };
                values.push((name, value));
            }
            let outputs = session.run(values)?;
            outputs.iter().map(|(name, value)| read(name, &value)).collect()
        })
    }

    /// The error of a trial: a model that does not run is another one than it should be, unless memory or the device failed.
    pub fn untried(&self, what: &str, error: JobError) -> JobError {
        if !matches!(error.code, ErrorCode::ModelInvalid | ErrorCode::Internal) {
            return error;
        }
        let said = error.detail.as_ref().and_then(|detail| detail.get("onnxruntime")?.as_str());
        let why = format!("it cannot be run on a grey picture ({})", said.unwrap_or(&error.message));
        self.refuse(what, &why, &[])
    }

    /// The error for a model that is another one than it should be: what is missing, and what was found.
    pub fn refuse(&self, what: &str, why: &str, made: &[Made]) -> JobError {
        let list = |texts: Vec<String>| if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") };
        let inputs = list(self.inputs.iter().map(ToString::to_string).collect());
        let outputs = if made.is_empty() {
            list(self.session.outputs().iter().map(|outlet| TensorInfo::from(outlet).to_string()).collect())
        } else {
            let text = |made: &Made| made.unread.clone().unwrap_or_else(|| format!("{:?}", made.dims));
            list(made.iter().map(|made| format!("{} {}", made.name, text(made))).collect())
        };
        let message = format!(
            "The model `{}` is not {what}: {why}. Found: inputs {inputs}; outputs {outputs}. Register another file for it under \
             `models.custom`, or choose another model.",
            self.session.name()
        );
        JobError::new(ErrorCode::ModelInvalid, message)
    }
}

fn read(name: &str, value: &ValueRef<'_>) -> ort::Result<Made> {
    let value: &DynValue = value;
    let dims = |shape: &[i64]| shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect::<Vec<_>>();
    let mut known = true;
    #[allow(clippy::cast_precision_loss, reason = "classes and sizes")]
    let (dims, numbers) = match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => {
            let (shape, numbers) = value.try_extract_tensor::<f32>()?;
            (dims(shape), numbers.iter().copied().take(MAX_NUMBERS).collect())
        }
        Some(TensorElementType::Int64) => {
            let (shape, numbers) = value.try_extract_tensor::<i64>()?;
            (dims(shape), numbers.iter().take(MAX_NUMBERS).map(|number| *number as f32).collect())
        }
        Some(TensorElementType::Int32) => {
            let (shape, numbers) = value.try_extract_tensor::<i32>()?;
            (dims(shape), numbers.iter().take(MAX_NUMBERS).map(|number| *number as f32).collect())
        }
        _ => {
            known = false;
            (Vec::new(), Vec::new())
        }
    };
    let whole = !matches!(value.dtype().tensor_type(), Some(TensorElementType::Float32));
    let unread = || match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => format!("{ty} {:?}", &shape[..]),
        other => other.to_string(),
    };
    Ok(Made { name: name.to_owned(), dims, unread: (!known).then(unread), whole, numbers })
}
