//! Listings: keys in bytewise order, rolled up at a delimiter, page by page.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::Connection;
use s3s::{
    S3Result,
    dto::{
        CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
        Object, ObjectStorageClass,
    },
    s3_error,
};

use super::{Store, objects::signed, rows};
use crate::db::Error;

/// S3's limit on a page.
const MAX_KEYS: i32 = 1000;
/// Unreserved characters, which `encoding-type=url` leaves as they are.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What is asked for. `from` is the least key that may be listed.
struct Query {
    bucket: String,
    prefix: String,
    delimiter: Option<String>,
    from: String,
    max_keys: usize,
}

/// A page of a listing.
#[derive(Debug, Default)]
struct Page {
    contents: Vec<Object>,
    prefixes: Vec<String>,
    /// The last key or prefix of the page.
    last: Option<String>,
    /// Where the next page begins, if there is one.
    next: Option<String>,
}

impl Store {
    pub(super) async fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let after = input.start_after.as_deref().map(next_key);
        let from = match &input.continuation_token {
            Some(token) => decode_token(token)?,
            None => after.unwrap_or_default(),
        };
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter.filter(|d| !d.is_empty()));
        let max_keys = page_size(input.max_keys)?;
        let query = Query {
            bucket: input.bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            from,
            max_keys,
        };
        let page = self.page(query).await?;
        let encode = encoder(input.encoding_type.as_ref());
        let key_count = page.contents.len() + page.prefixes.len();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(prefix)),
            delimiter: delimiter.map(&encode),
            start_after: input.start_after.map(&encode),
            max_keys: Some(max_keys as i32),
            key_count: Some(key_count as i32),
            is_truncated: Some(page.next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.map(|next| data_encoding::BASE64URL_NOPAD.encode(next.as_bytes())),
            contents: Some(page.contents.into_iter().map(|object| encode_key(object, &encode)).collect()),
            common_prefixes: Some(common_prefixes(page.prefixes, &encode)),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter.filter(|d| !d.is_empty()));
        let from = input.marker.as_deref().map(|marker| after_marker(marker, &prefix, delimiter.as_deref()));
        let max_keys = page_size(input.max_keys)?;
        let query = Query {
            bucket: input.bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            from: from.unwrap_or_default(),
            max_keys,
        };
        let page = self.page(query).await?;
        let encode = encoder(input.encoding_type.as_ref());
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(prefix)),
            marker: Some(encode(input.marker.unwrap_or_default())),
            delimiter: delimiter.map(&encode),
            max_keys: Some(max_keys as i32),
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next.and(page.last).map(&encode),
            contents: Some(page.contents.into_iter().map(|object| encode_key(object, &encode)).collect()),
            common_prefixes: Some(common_prefixes(page.prefixes, &encode)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    async fn page(&self, query: Query) -> S3Result<Page> {
        self.db
            .read(move |connection| {
                rows::check_bucket(connection, &query.bucket)?;
                Ok(page(connection, &query)?)
            })
            .await
    }
}

fn page(connection: &Connection, query: &Query) -> Result<Page, Error> {
    let mut page = Page::default();
    if query.max_keys == 0 {
        return Ok(page);
    }
    let mut cursor = query.from.clone().max(query.prefix.clone());
    let sql = "SELECT key, size, etag, modified_at FROM objects WHERE bucket = ?1 AND key >= ?2 ORDER BY key";
    let mut select = connection.prepare_cached(sql)?;
    'seek: loop {
        let mut rows = select.query([&query.bucket, &cursor])?;
        while let Some(row) = rows.next()? {
            let key: String = row.get(0)?;
            let Some(rest) = key.strip_prefix(query.prefix.as_str()) else { break };
            if page.contents.len() + page.prefixes.len() == query.max_keys {
                page.next = Some(key);
                return Ok(page);
            }
            let rolled_up = rolled_up(rest, query.delimiter.as_deref());
            if let Some(prefix) = rolled_up.and_then(|length| key.get(..query.prefix.len() + length)) {
                page.prefixes.push(prefix.to_owned());
                page.last = Some(prefix.to_owned());
                let Some(after) = after_prefix(prefix) else { break };
                cursor = after;
                continue 'seek;
            }
            page.last = Some(key.clone());
            page.contents.push(Object {
                key: Some(key),
                size: Some(signed(row.get(1)?)),
                e_tag: Some(ETag::Strong(row.get(2)?)),
                last_modified: Some(rows::timestamp(row.get(3)?)),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..Object::default()
            });
        }
        return Ok(page);
    }
}

/// How much of a key, after the prefix asked for, is listed in place of all keys that begin so.
fn rolled_up(rest: &str, delimiter: Option<&str>) -> Option<usize> {
    let delimiter = delimiter?;
    rest.find(delimiter).map(|at| at + delimiter.len())
}

/// Where a listing goes on after its marker. That may be a rolled-up prefix, which ended the page before: then all under
/// it has been listed.
fn after_marker(marker: &str, prefix: &str, delimiter: Option<&str>) -> String {
    let rest = marker.strip_prefix(prefix).unwrap_or_default();
    match rolled_up(rest, delimiter) {
        Some(length) if length == rest.len() => after_prefix(marker).unwrap_or_default(),
        _ => next_key(marker),
    }
}

/// The least key greater than this one.
pub fn next_key(key: &str) -> String {
    format!("{key}\0")
}

/// The least key greater than all that begin with `prefix`; none when there is no such key.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // UTF-8 sorts bytewise as its characters do.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn page_size(max_keys: Option<i32>) -> S3Result<usize> {
    let max_keys = max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    usize::try_from(max_keys).map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative."))
}

fn decode_token(token: &str) -> S3Result<String> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    let from = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    from.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not one of ours."))
}

/// Keys as the listing shows them: any character with `encoding-type=url`, else what XML can carry.
pub fn encoder(encoding: Option<&EncodingType>) -> impl Fn(String) -> String + use<> {
    let url = encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    move |text| if url { utf8_percent_encode(&text, URL).to_string() } else { text }
}

fn encode_key(mut object: Object, encode: &impl Fn(String) -> String) -> Object {
    object.key = object.key.map(encode);
    object
}

fn common_prefixes(prefixes: Vec<String>, encode: &impl Fn(String) -> String) -> Vec<CommonPrefix> {
    prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect()
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_marker_is_a_key_unless_it_is_what_a_page_rolled_up() {
        let after = |marker, prefix| after_marker(marker, prefix, Some("/"));
        assert_eq!(after("a/", ""), "a0", "the page before ended with the prefix");
        assert_eq!(after("a/", "a/"), "a/\0", "the page before ended with the key that is the prefix asked for");
        assert_eq!(after("a/b/", "a/"), "a/b0");
        assert_eq!(after("a", ""), "a\0");
        assert_eq!(after_marker("a/", "", None), "a/\0");
    }

    #[test]
    fn the_successor_of_a_prefix_is_past_all_under_it() {
        assert_eq!(after_prefix("a/").as_deref(), Some("a0"));
        assert_eq!(after_prefix("é").as_deref(), Some("ê"));
        assert_eq!(after_prefix("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{D7FF}").as_deref(), Some("\u{E000}"), "past the surrogates");
        assert_eq!(after_prefix("\u{10FFFF}"), None);
    }
}
