// Records out of what a Python operator packs them in: one row a batch of them, since each row that leaves
// Python costs it more than a record is worth. The packing is that of streaming/live/packing.py: key and value of
// each record in turn, each behind its length as a big-endian int; and the topic that all of them go to.

package tickloom;

import java.nio.ByteBuffer;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;

public class Unpack implements FlatMapFunction {
    public void flatMap(Object packed, Collector out) {
        Row row = (Row) packed;
        ByteBuffer left = ByteBuffer.wrap((byte[]) row.getField(0));
        while (left.hasRemaining()) {
            Row record = new Row(3);
            record.setField(0, next(left));
            record.setField(1, next(left));
            record.setField(2, row.getField(1));
            out.collect(record);
        }
    }

    private static byte[] next(ByteBuffer left) {
        byte[] found = new byte[left.getInt()];
        left.get(found);
        return found;
    }
}
