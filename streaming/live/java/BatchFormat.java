// Flink's table format "tick-batch": a record of a ticks topic to a row, and one that is none to a row that
// says so. Flink's own avro format fails the job at a record that it cannot read, and reads on in one that
// says it holds more events than there is memory. The wire is that of tickloom/codec.py: Avro binary, a
// header of texts and numbers, then arrays of flat events.
//
// The table's last two columns are ours: `poison` has the bytes of such a record in base64, `poison_error`
// what is wrong with it. Of the others, in wire order, this format learns what to read.
//
// Compiled by Janino, which Flink brings along (streaming/live/java_format.py), and which knows neither lambdas
// nor type arguments.

package tickloom;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collections;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.metrics.Counter;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;

public class BatchFormat implements DeserializationFormatFactory {
    public String factoryIdentifier() {
        return "tick-batch";
    }

    public Set requiredOptions() {
        return Collections.emptySet();
    }

    public Set optionalOptions() {
        return Collections.emptySet();
    }

    public DecodingFormat createDecodingFormat(DynamicTableFactory.Context context, ReadableConfig options) {
        return new Decoding();
    }
}

class Decoding implements DecodingFormat {
    public Object createRuntimeDecoder(DynamicTableSource.Context context, DataType physical) {
        RowType type = (RowType) physical.getLogicalType();
        return new BatchDecoder(type, context.createTypeInformation(physical));
    }

    public ChangelogMode getChangelogMode() {
        return ChangelogMode.insertOnly();
    }
}

class BatchDecoder implements DeserializationSchema {
    static final int TEXT = 0;
    static final int LONG = 1;
    static final int INT = 2;
    static final int DOUBLE = 3;
    static final int EVENTS = 4;
    static final int OURS = 2;

    private final int[] kinds;
    private final int[][] events; // kinds of an event's fields; null where the column is no array
    private final int[] bytesMin; // that an event takes at least
    private final TypeInformation produced;
    private transient Counter quarantined;
    private transient byte[] raw;
    private transient int at;

    BatchDecoder(RowType type, TypeInformation produced) {
        this.produced = produced;
        int wire = type.getFieldCount() - OURS;
        this.kinds = new int[wire];
        this.events = new int[wire][];
        this.bytesMin = new int[wire];
        for (int i = 0; i < wire; i++) {
            LogicalType column = type.getTypeAt(i);
            this.kinds[i] = kindOf(column);
            if (this.kinds[i] == EVENTS) {
                RowType event = (RowType) ((ArrayType) column).getElementType();
                this.events[i] = new int[event.getFieldCount()];
                for (int j = 0; j < this.events[i].length; j++) {
                    this.events[i][j] = kindOf(event.getTypeAt(j));
                    this.bytesMin[i] += this.events[i][j] == DOUBLE ? 8 : 1;
                }
            }
        }
    }

    private static int kindOf(LogicalType type) {
        LogicalTypeRoot root = type.getTypeRoot();
        if (root == LogicalTypeRoot.VARCHAR) {
            return TEXT;
        }
        if (root == LogicalTypeRoot.BIGINT) {
            return LONG;
        }
        if (root == LogicalTypeRoot.INTEGER) {
            return INT;
        }
        if (root == LogicalTypeRoot.DOUBLE) {
            return DOUBLE;
        }
        if (root == LogicalTypeRoot.ARRAY) {
            return EVENTS;
        }
        throw new IllegalArgumentException("tick-batch: no column of type " + type.asSummaryString());
    }

    public void open(DeserializationSchema.InitializationContext context) {
        this.quarantined = context.getMetricGroup().counter("numRecordsQuarantined");
    }

    public Object deserialize(byte[] record) {
        this.raw = record == null ? new byte[0] : record;
        this.at = 0;
        GenericRowData row = new GenericRowData(this.kinds.length + OURS);
        try {
            for (int i = 0; i < this.kinds.length; i++) {
                row.setField(i, this.kinds[i] == EVENTS ? readEvents(i) : readField(this.kinds[i]));
            }
            if (this.at != this.raw.length) {
                throw new IllegalStateException((this.raw.length - this.at) + " bytes behind the batch");
            }
        } catch (IllegalStateException error) {
            return poison(error.getMessage());
        } finally {
            this.raw = null;
        }
        return row;
    }

    private Object poison(String error) {
        if (this.quarantined != null) {
            this.quarantined.inc();
        }
        GenericRowData row = new GenericRowData(this.kinds.length + OURS);
        for (int i = 0; i < this.kinds.length; i++) {
            row.setField(i, nothing(this.kinds[i]));
        }
        row.setField(this.kinds.length, StringData.fromString(Base64.getEncoder().encodeToString(this.raw)));
        row.setField(this.kinds.length + 1, StringData.fromString(error));
        return row;
    }

    private static Object nothing(int kind) {
        if (kind == TEXT) {
            return StringData.fromString("");
        }
        if (kind == LONG) {
            return Long.valueOf(0L);
        }
        if (kind == INT) {
            return Integer.valueOf(0);
        }
        return kind == DOUBLE ? (Object) Double.valueOf(0.0) : (Object) new GenericArrayData(new Object[0]);
    }

    private Object readField(int kind) {
        if (kind == TEXT) {
            return readText();
        }
        if (kind == DOUBLE) {
            return Double.valueOf(readDouble());
        }
        long value = readLong();
        return kind == LONG ? (Object) Long.valueOf(value) : (Object) Integer.valueOf((int) value);
    }

    // An array comes in blocks, each behind its count, the last of which is 0. A negative count has the
    // block's length in bytes behind it.
    private Object readEvents(int column) {
        int[] fields = this.events[column];
        Object[] found = new Object[0];
        while (true) {
            long count = readLong();
            if (count == 0) {
                return new GenericArrayData(found);
            }
            if (count < 0) {
                count = -count;
                readLong();
            }
            if (count < 0 || count > (this.raw.length - this.at) / this.bytesMin[column]) {
                throw new IllegalStateException("an array of " + count + " events does not fit the record");
            }
            Object[] more = new Object[found.length + (int) count];
            System.arraycopy(found, 0, more, 0, found.length);
            for (int i = found.length; i < more.length; i++) {
                GenericRowData event = new GenericRowData(fields.length);
                for (int j = 0; j < fields.length; j++) {
                    event.setField(j, readField(fields[j]));
                }
                more[i] = event;
            }
            found = more;
        }
    }

    private long readLong() {
        long value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            if (this.at >= this.raw.length) {
                throw new IllegalStateException("the record ends inside a number");
            }
            int part = this.raw[this.at++];
            value |= ((long) (part & 0x7F)) << shift;
            if (part >= 0) {
                return (value >>> 1) ^ -(value & 1);
            }
        }
        throw new IllegalStateException("a number is longer than 64 bits");
    }

    private double readDouble() {
        if (this.raw.length - this.at < 8) {
            throw new IllegalStateException("the record ends inside a number");
        }
        long bits = 0;
        for (int i = 7; i >= 0; i--) {
            bits = (bits << 8) | (this.raw[this.at + i] & 0xFF);
        }
        this.at += 8;
        return Double.longBitsToDouble(bits);
    }

    private StringData readText() {
        long length = readLong();
        if (length < 0 || length > this.raw.length - this.at) {
            throw new IllegalStateException("the record ends inside a text");
        }
        byte[] text = new byte[(int) length];
        System.arraycopy(this.raw, this.at, text, 0, text.length);
        this.at += text.length;
        for (int i = 0; i < text.length; i++) {
            if (text[i] < 0) {
                return checkedText(text);
            }
        }
        return StringData.fromBytes(text);
    }

    private static StringData checkedText(byte[] text) {
        try {
            return StringData.fromString(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString());
        } catch (CharacterCodingException error) {
            throw new IllegalStateException("a text in the record is not UTF-8");
        }
    }

    public void deserialize(byte[] record, org.apache.flink.util.Collector out) {
        out.collect(deserialize(record));
    }

    public boolean isEndOfStream(Object row) {
        return false;
    }

    public TypeInformation getProducedType() {
        return this.produced;
    }
}
