/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_rows.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

static void begin(struct row_cell *c, const struct kdb_object *column)
{
    *c = (struct row_cell){.column = *column};
    if (column->type == PST_SYMBOL)
        c->more = kdb_texts(column, &c->texts);
    else if (column->type == KDB_LIST)
        c->more = kdb_items(column, &c->items);
}

/* Text of the next value; *quoted: JSON wants quotes. */
const char *rows_next(struct row_cell *c, char buf[RENDER_VALUE], uint32_t *len, bool *quoted)
{
    const struct kdb_object *o = &c->column;
    const char *text = "";
    *len = 0;
    *quoted = true;
    if (o->type == PST_SYMBOL) {
        text = c->texts.text;
        *len = c->texts.len;
        if (c->i++)
            return c->more && (c->more = kdb_texts_next(&c->texts))
                       ? (*len = c->texts.len, c->texts.text)
                       : "";
        return text;
    }
    if (o->type == KDB_LIST) {
        if (c->i++)
            c->more = kdb_items_next(&c->items);
        text = c->more ? kdb_object_text(&c->items.item, len) : NULL;
        return text ? text : "";
    }
    unsigned width = kdb_object_width(o->type);
    const uint8_t *p = o->data + (size_t)c->i++ * width;
    if (o->type > 0 && width && !render_is_null((uint8_t)o->type, p)) {
        *len = render_value((uint8_t)o->type, p, buf);
        *quoted = o->type > PST_FLOAT || o->type == PST_GUID;
        return buf;
    }
    *quoted = false;
    return NULL;
}

static void put_json(const char *text, uint32_t len, bool quoted)
{
    if (!text) {
        printf("null");
    } else if (!quoted) {
        printf("%.*s", (int)len, text);
    } else {
        json_t *s = json_stringn(text, len);
        if (s)
            json_dumpf(s, stdout, JSON_ENCODE_ANY);
        else
            printf("null"); /* no UTF-8 */
        json_decref(s);
    }
}

static bool column(void *arg, uint32_t i, const char *name, uint32_t len,
                   const struct kdb_object *o)
{
    struct row_columns *c = arg;
    if (i >= SCHEMA_COLUMNS_MAX)
        return false;
    begin(&c->cell[i], o);
    c->name[i] = name;
    c->len[i] = len;
    c->n = i + 1;
    return true;
}

bool rows_begin(struct row_columns *c, const struct kdb_object *table, struct err *err)
{
    struct kdb_table t;
    memset(c, 0, sizeof *c);
    if (!kdb_table_view(&t, table, err))
        return false;
    c->rows = t.rows;
    return kdb_table_each(&t, column, c) ||
           err_set(err, -EBADMSG, "more columns than there may be");
}

/* As RFC 4180 has it. */
static void put_csv(const char *text, uint32_t len)
{
    bool plain = true;
    for (uint32_t i = 0; text && i < len; i++)
        plain &= !strchr(",\"\r\n", text[i]) || !text[i];
    if (!text || plain) {
        printf("%.*s", text ? (int)len : 0, text ? text : "");
        return;
    }
    putchar('"');
    for (uint32_t i = 0; i < len; i++) {
        if (text[i] == '"')
            putchar('"');
        putchar(text[i]);
    }
    putchar('"');
}

void rows_print(struct row_columns *c, enum rows_format f)
{
    char buf[RENDER_VALUE];
    uint32_t len;
    bool quoted;
    for (uint32_t i = 0; i < c->n; i++) {
        const char *text = rows_next(&c->cell[i], buf, &len, &quoted);
        if (f == ROWS_JSON) {
            printf(",\"%.*s\":", (int)c->len[i], c->name[i]);
            put_json(text, len, quoted);
        } else if (f == ROWS_CSV) {
            printf("%s", i ? "," : "");
            put_csv(text, len);
        } else {
            printf("%s%.*s", i ? "  " : "", text ? (int)len : 1, text ? text : "-");
        }
    }
}

void rows_head(const struct row_columns *c, enum rows_format f)
{
    for (uint32_t i = 0; i < c->n && f != ROWS_JSON; i++)
        printf("%s%.*s", !i ? "" : f == ROWS_CSV ? "," : " ", (int)c->len[i], c->name[i]);
}
