// A flat row of a table as the pair that PyFlink's keyed operators take: its first field, the key, and a row of the
// others. SQL's ROW(...) gives the same, but writes every field into memory of its own and reads it from there
// again: two copies of each record.

package tickloom;

import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.types.Row;

public class Pair implements MapFunction {
    public Object map(Object flat) {
        Row row = (Row) flat;
        Row value = new Row(row.getArity() - 1);
        for (int i = 0; i < value.getArity(); i++) {
            value.setField(i, row.getField(i + 1));
        }
        Row pair = new Row(2);
        pair.setField(0, row.getField(0));
        pair.setField(1, value);
        return pair;
    }
}
