//! The records of the mock API, as the program that reads them knows them: names, order and types.

use anyhow::bail;
use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, Fields};

use crate::columns::{Bool, Column, Float, Int, List, Nothing, Str, Validity, object};
use crate::text::Text;

/// Declares an object: a column for each field, and a reader that takes the fields for granted in their order. Where they
/// come otherwise, it goes on by name.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $first_key:literal $first:ident: $first_kind:ty, $($key:literal $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            rows: usize,
            valid: Validity,
            $first: $first_kind,
            $($field: $kind,)*
        }

        impl $name {
            /// The fields in Arrow.
            #[must_use]
            pub fn fields() -> Fields {
                Fields::from(vec![
                    Field::new($first_key, <$first_kind>::data_type(), true),
                    $(Field::new($key, <$kind>::data_type(), true),)*
                ])
            }

            /// Takes the columns of the fields.
            pub fn arrays(&mut self) -> anyhow::Result<Vec<ArrayRef>> {
                self.rows = 0;
                Ok(vec![self.$first.array()?, $(self.$field.array()?,)*])
            }

            /// Reads the rest of an object by name, from the bracket or comma before the next one.
            #[cold]
            fn by_name(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
                let mut name = Vec::new();
                if text.byte() == b'{' {
                    text.expect(b'{')?;
                } else if text.byte() == b',' {
                    text.expect(b',')?;
                }
                while text.byte() != b'}' {
                    let end = text.string(&mut name, 0)?;
                    text.expect(b':')?;
                    let row = self.rows;
                    match name.get(..end).map(std::str::from_utf8) {
                        Some(Ok($first_key)) if self.$first.rows() == row => self.$first.read(text)?,
                        $(Some(Ok($key)) if self.$field.rows() == row => self.$field.read(text)?,)*
                        _ => bail!("a field that comes twice or is not known: {}", String::from_utf8_lossy(&name)),
                    }
                    text.space();
                    if text.byte() != b'}' {
                        text.expect(b',')?;
                    }
                }
                text.step();
                if self.$first.rows() == self.rows { self.$first.null() }
                $(if self.$field.rows() == self.rows { self.$field.null() })*
                Ok(())
            }

            #[inline(always)]
            fn in_order(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
                if !text.take(concat!("{\"", $first_key, "\":")) {
                    return self.by_name(text);
                }
                self.$first.read(text)?;
                $(
                    if !text.take(concat!(",\"", $key, "\":")) {
                        text.space();
                        return self.by_name(text);
                    }
                    self.$field.read(text)?;
                )*
                if text.take("}") { Ok(()) } else { text.space(); self.by_name(text) }
            }
        }

        impl Column for $name {
            fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
                if text.byte() != b'{' {
                    if !text.take("null") {
                        return text.unexpected();
                    }
                    self.null();
                    return Ok(());
                }
                self.in_order(text)?;
                self.rows += 1;
                self.valid.push(true);
                Ok(())
            }

            fn null(&mut self) {
                self.$first.null();
                $(self.$field.null();)*
                self.rows += 1;
                self.valid.push(false);
            }

            fn rows(&self) -> usize {
                self.rows
            }

            fn bytes(&self) -> usize {
                self.$first.bytes() $(+ self.$field.bytes())*
            }

            fn data_type() -> DataType {
                DataType::Struct(Self::fields())
            }

            fn array(&mut self) -> anyhow::Result<ArrayRef> {
                let rows = self.rows;
                let arrays = self.arrays()?;
                object(Self::fields(), arrays, &mut self.valid, rows)
            }
        }
    };
}

record! {
    /// Who owns a record.
    Owner { "id" id: Int, "login" login: Str, }
}

record! {
    /// A licence.
    License { "key" key: Str, "name" name: Str, "spdx_id" spdx_id: Str, "url" url: Str, }
}

record! {
    /// What the caller may do.
    Permissions { "admin" admin: Bool, "maintain" maintain: Bool, "push" push: Bool, "triage" triage: Bool, "pull" pull: Bool, }
}

record! {
    /// A record of about 150 bytes.
    Small {
        "id" id: Int,
        "name" name: Str,
        "updated_at" updated_at: Str,
        "group" group: Str,
        "owner" owner: Owner,
        "tags" tags: List<Str>,
        "body" body: Str,
    }
}

record! {
    /// A record of about 2 KB.
    Large {
        "id" id: Int,
        "name" name: Str,
        "updated_at" updated_at: Str,
        "group" group: Str,
        "owner" owner: Owner,
        "tags" tags: List<Str>,
        "body" body: Str,
        "node_id" node_id: Str,
        "full_name" full_name: Str,
        "private" private: Bool,
        "fork" fork: Bool,
        "description" description: Str,
        "created_at" created_at: Str,
        "pushed_at" pushed_at: Str,
        "size" size: Int,
        "stars" stars: Int,
        "watchers" watchers: Int,
        "ratio" ratio: Float,
        "language" language: Str,
        "archived" archived: Bool,
        "disabled" disabled: Bool,
        "open_issues" open_issues: Int,
        "forks" forks: Int,
        "visibility" visibility: Str,
        "default_branch" default_branch: Str,
        "homepage" homepage: Nothing,
        "mirror_url" mirror_url: Nothing,
        "has_issues" has_issues: Bool,
        "has_wiki" has_wiki: Bool,
        "has_pages" has_pages: Bool,
        "topics" topics: List<Str>,
        "license" license: License,
        "permissions" permissions: Permissions,
        "html_url" html_url: Str,
        "forks_url" forks_url: Str,
        "keys_url" keys_url: Str,
        "teams_url" teams_url: Str,
        "hooks_url" hooks_url: Str,
        "events_url" events_url: Str,
        "branches_url" branches_url: Str,
        "contributors_url" contributors_url: Str,
        "languages_url" languages_url: Str,
        "commits_url" commits_url: Str,
        "releases_url" releases_url: Str,
        "deployments_url" deployments_url: Str,
    }
}

/// Records that stand on their own.
pub trait Record: Column {
    /// The fields in Arrow.
    fn fields() -> Fields;
    /// Takes the columns of the fields.
    fn arrays(&mut self) -> anyhow::Result<Vec<ArrayRef>>;
}

impl Record for Small {
    fn fields() -> Fields {
        Self::fields()
    }

    fn arrays(&mut self) -> anyhow::Result<Vec<ArrayRef>> {
        self.valid = Validity::default();
        Self::arrays(self)
    }
}

impl Record for Large {
    fn fields() -> Fields {
        Self::fields()
    }

    fn arrays(&mut self) -> anyhow::Result<Vec<ArrayRef>> {
        self.valid = Validity::default();
        Self::arrays(self)
    }
}

/// Reads the records of a page: `{"items":[…]` and what follows.
pub fn page<R: Record>(records: &mut R, page: &[u8]) -> anyhow::Result<()> {
    let mut text = Text::new(page);
    if !text.take("{\"items\":[") {
        return text.unexpected();
    }
    if text.take("]") {
        return Ok(());
    }
    loop {
        records.read(&mut text)?;
        if text.take(",") {
            continue;
        }
        return if text.take("]") { Ok(()) } else { text.unexpected() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::PADDING;

    fn read(json: &str) -> anyhow::Result<Vec<ArrayRef>> {
        let mut records = Small::default();
        page(&mut records, &[json.as_bytes(), &[0; PADDING]].concat())?;
        records.arrays()
    }

    #[test]
    fn fields_in_another_order_or_missing_give_the_same_columns() -> anyhow::Result<()> {
        let straight = read(
            r#"{"items":[{"id":1,"name":"a","updated_at":"b","group":null,"owner":{"id":2,"login":"c"},"tags":["d","e"],"body":null}]}"#,
        )?;
        let crooked = read(
            r#"{"items":[{"name":"a", "id" : 1,"updated_at":"b","tags":["d" , "e"],"owner":{"login":"c","id":2}}]}"#,
        )?;
        assert_eq!(straight, crooked);
        assert!(read(r#"{"items":[{"id":1,"id":2}]}"#).is_err());
        assert!(read(r#"{"items":[{"id":1,"other":2}]}"#).is_err());
        assert!(read(r#"{"items":[{"id":1"#).is_err());
        Ok(())
    }
}
