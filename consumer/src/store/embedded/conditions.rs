//! What a read asks of the object before it is answered.

use s3s::{
    S3Result,
    dto::{ETagCondition, Timestamp},
    s3_error,
};

use super::rows::{self, Object};

/// The four conditions of a GET, a HEAD, or a copy's source.
#[derive(Debug, Default)]
pub struct Conditions<'a> {
    pub if_match: Option<&'a ETagCondition>,
    pub if_none_match: Option<&'a ETagCondition>,
    pub if_modified_since: Option<&'a Timestamp>,
    pub if_unmodified_since: Option<&'a Timestamp>,
}

/// Takes the conditions out of a request's input; several inputs have them.
macro_rules! conditions_of {
    ($input:expr) => {
        $crate::store::embedded::conditions::Conditions {
            if_match: $input.if_match.as_ref(),
            if_none_match: $input.if_none_match.as_ref(),
            if_modified_since: $input.if_modified_since.as_ref(),
            if_unmodified_since: $input.if_unmodified_since.as_ref(),
        }
    };
    (source of $input:expr) => {
        $crate::store::embedded::conditions::Conditions {
            if_match: $input.copy_source_if_match.as_ref(),
            if_none_match: $input.copy_source_if_none_match.as_ref(),
            if_modified_since: $input.copy_source_if_modified_since.as_ref(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.as_ref(),
        }
    };
}
pub(super) use conditions_of;

impl Conditions<'_> {
    /// In S3's order (RFC 9110, 13.2.2): a failed If-Match is 412, a matching If-None-Match 304; each makes the date that
    /// stands beside it void.
    pub fn check(&self, object: &Object) -> S3Result<()> {
        // As the header tells it: in whole seconds.
        let modified = rows::timestamp(object.modified_at - object.modified_at.rem_euclid(1000));
        let failed = match self.if_match {
            Some(condition) => !rows::matches(condition, &object.etag),
            None => self.if_unmodified_since.is_some_and(|since| modified > *since),
        };
        if failed {
            return Err(s3_error!(PreconditionFailed));
        }
        let unchanged = match self.if_none_match {
            Some(condition) => rows::matches(condition, &object.etag),
            None => self.if_modified_since.is_some_and(|since| modified <= *since),
        };
        if unchanged { Err(s3_error!(NotModified)) } else { Ok(()) }
    }

    /// The same for the source of a copy, which has nothing to answer 304 to.
    pub fn check_source(&self, object: &Object) -> S3Result<()> {
        self.check(object).map_err(|error| match error.code() {
            s3s::S3ErrorCode::NotModified => s3_error!(PreconditionFailed),
            _ => error,
        })
    }
}

/// There is one version of each object, called `null`: to answer for another one, or to delete this one in its place,
/// would be wrong.
pub fn only_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "This store keeps no versions.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_counts_in_whole_seconds_and_only_without_a_tag() {
        let object = Object {
            id: 1,
            size: 1,
            etag: "a".into(),
            modified_at: 10_900,
            headers: super::super::headers::Headers::default(),
        };
        let (before, same) = (rows::timestamp(9000), rows::timestamp(10_000));
        let tag = ETagCondition::parse_http_header(b"\"a\"").unwrap();
        let code = |conditions: Conditions<'_>| conditions.check(&object).err().map(|e| e.code().as_str().to_owned());
        let (changed, unchanged) = (Some("PreconditionFailed".to_owned()), Some("NotModified".to_owned()));
        let none = Conditions::default;
        assert_eq!(code(Conditions { if_unmodified_since: Some(&same), ..none() }), None);
        assert_eq!(code(Conditions { if_unmodified_since: Some(&before), ..none() }), changed);
        assert_eq!(code(Conditions { if_unmodified_since: Some(&before), if_match: Some(&tag), ..none() }), None);
        assert_eq!(code(Conditions { if_modified_since: Some(&before), ..none() }), None);
        assert_eq!(code(Conditions { if_modified_since: Some(&same), ..none() }), unchanged);
        assert_eq!(
            code(Conditions { if_modified_since: Some(&before), if_none_match: Some(&tag), ..none() }),
            unchanged
        );
    }
}
