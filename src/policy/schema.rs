//! The JSON Schema of a policy, for editors and for a custom resource's validation. Drawn from the
//! same tables as the check.

use serde_json::{Map, Value, json};

use super::shape::{Field, Shape, Table};
use super::tables::DOCUMENT;

/// The JSON Schema (draft 2020-12) of a policy document.
pub fn schema() -> Value {
    let mut schema = mapping(&DOCUMENT);
    if let Value::Object(members) = &mut schema {
        let dialect = "https://json-schema.org/draft/2020-12/schema";
        members.insert("$schema".to_owned(), json!(dialect));
        members.insert("title".to_owned(), json!("Backstay policy"));
    }
    schema
}

fn mapping(table: &Table) -> Value {
    let properties: Map<String, Value> =
        table.fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<&str> =
        table.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !table.one_of.is_empty() {
        let choices = table.one_of.iter().map(|name| json!({"required": [name]}));
        schema["oneOf"] = choices.collect();
    }
    schema
}

fn property(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    schema["description"] = json!(field.about);
    schema
}

fn shape(shape_of: &Shape) -> Value {
    // What the check calls empty: nothing but white space.
    let text = json!({"type": "string", "pattern": "\\S"});
    match shape_of {
        Shape::Text | Shape::Time | Shape::Rate => text,
        Shape::Price => json!({"type": "number", "minimum": 0, "maximum": 1_000_000}),
        Shape::Size => json!({"anyOf": [{"type": "integer", "minimum": 1}, text]}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::False => json!({"const": false}),
        Shape::Integer(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Shape::Texts => json!({"type": "array", "items": text}),
        Shape::Labels => json!({"type": "object", "additionalProperties": text}),
        Shape::Mapping(table) => mapping(table),
        Shape::Mappings(table) => {
            json!({"type": "array", "minItems": 1, "items": mapping(table)})
        }
        Shape::Either(shapes) => {
            json!({"anyOf": shapes.iter().map(shape).collect::<Vec<_>>()})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_every_level() {
        let schema = schema();
        let source = &schema["properties"]["spec"]["properties"]["sources"]["items"];
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["kind"]["enum"], json!(["Policy"]));
        assert_eq!(source["oneOf"], json!([{"required": ["directory"]}, {"required": ["wal"]}]));
        assert_eq!(source["properties"]["directory"]["properties"]["pin"]["type"], "boolean");
    }
}
