//! Rules at work: which upload becomes which job, and which message is let in.

use darkroom_api::{Descriptor, ErrorCode, JobError, Result};
use jiff::Timestamp;

use super::{InputRef, Origin, Routes, Submission, Upload};
use crate::job::JobMessage;
use crate::store::{HttpsConfig, ObjectRef, Place, parse_input};

impl Routes {
    /// The job that an upload starts; `None` where no route takes it.
    pub fn route(&self, upload: &Upload) -> Option<Submission> {
        let route = self.routes.iter().find(|route| route.takes(&upload.bucket, &upload.key))?;
        let object = ObjectRef {
            version: upload.version.clone(),
            etag: upload.etag.clone(),
            size: upload.size,
            ..ObjectRef::new(&route.listens.store, &upload.bucket, &upload.key)
        };
        Some(Submission {
            submission_id: upload.submission_id.clone(),
            origin: upload.origin,
            handler: route.handler.clone(),
            params: route.params.clone(),
            inputs: vec![InputRef { role: route.role.clone(), object }],
            destination: route.output.clone(),
            reference: None,
            deadline_secs: route.deadline_secs,
            rerun: None,
            submitted_at: upload.event_time.unwrap_or_else(Timestamp::now),
        })
    }

    /// The job that a message asks for, if handler, roles, sources and destination are allowed.
    ///
    /// # Errors
    /// [`ErrorCode::HandlerUnknown`], [`ErrorCode::InputsInvalid`], [`ErrorCode::SourceForbidden`],
    /// [`ErrorCode::DestinationForbidden`], [`ErrorCode::MessageInvalid`].
    pub fn accept(&self, message: JobMessage, submission_id: &str, submitted_at: Timestamp) -> Result<Submission> {
        message.check()?;
        let handler = self.handlers.get(&message.handler).ok_or_else(|| {
            JobError::new(
                ErrorCode::HandlerUnknown,
                format!("The message is refused: {}.", self.unknown(&message.handler)),
            )
        })?;
        let inputs = self.inputs(handler, &message)?;
        let destination = self.destination(&message.output)?;
        Ok(Submission {
            submission_id: submission_id.to_owned(),
            origin: Origin::Message,
            handler: message.handler,
            params: message.params,
            inputs,
            destination,
            reference: message.reference,
            deadline_secs: message.deadline_secs,
            rerun: message.rerun,
            submitted_at,
        })
    }

    fn inputs(&self, handler: &Descriptor, message: &JobMessage) -> Result<Vec<InputRef>> {
        let refuse = |problem: String| JobError::new(ErrorCode::InputsInvalid, problem);
        let mut inputs = Vec::new();
        let mut named = message.inputs.clone().unwrap_or_default();
        for (index, role) in handler.inputs.iter().enumerate() {
            let short = message.input.as_slice();
            let urls = named.remove(&role.name);
            let urls = urls.as_ref().map_or(if index == 0 { short } else { &[] }, |urls| urls.as_slice());
            let (min, max) = (role.min as usize, role.max as usize);
            if !(min..=max).contains(&urls.len()) {
                let (given, name, handler) = (urls.len(), &role.name, &handler.name);
                let problem = format!("`{handler}` takes {min} to {max} inputs as `{name}`, {given} are given.");
                return Err(refuse(problem));
            }
            for url in urls {
                inputs.push(InputRef { role: role.name.clone(), object: self.source(url)? });
            }
        }
        match named.keys().next() {
            None => Ok(inputs),
            Some(role) => {
                let known: Vec<_> = handler.inputs.iter().map(|role| role.name.as_str()).collect();
                let (shown, handler) = (crate::store::shorten(role), &handler.name);
                Err(refuse(format!("`{handler}` has no input `{shown}`: it takes {}.", known.join(", "))))
            }
        }
    }

    fn source(&self, url: &str) -> Result<ObjectRef> {
        if HttpsConfig::is_web(url) {
            return self.https.input(url);
        }
        let (bucket, key) = parse_input(url)?;
        match self.sources.iter().find(|rule| rule.holds(bucket, key)) {
            Some(rule) => Ok(ObjectRef::new(&rule.store, bucket, key)),
            None => {
                let shown = crate::store::shorten(url);
                let message = format!("No [[sources]] rule allows `{shown}`: upload it elsewhere or add a rule.");
                Err(JobError::new(ErrorCode::SourceForbidden, message))
            }
        }
    }

    fn destination(&self, url: &str) -> Result<Place> {
        let refuse = |problem: String| JobError::new(ErrorCode::DestinationForbidden, problem);
        let mut place = Place::for_writing("", url)?;
        match self.destinations.iter().find(|rule| rule.holds(&place.bucket, &place.prefix)) {
            Some(rule) => place.store.clone_from(&rule.store),
            None => {
                let shown = crate::store::shorten(url);
                return Err(refuse(format!(
                    "No [[destinations]] rule allows `{shown}`: choose another or add a rule."
                )));
            }
        }
        match self.heard(&place) {
            None => Ok(place),
            Some(listens) => {
                let shown = crate::store::shorten(url);
                Err(refuse(format!(
                    "The output `{shown}` lies where a route listens ({listens}), so that results would start jobs for \
                     ever: choose another."
                )))
            }
        }
    }
}
